"""Workers on other machines, through Dask.

`cluster`, `connection`, `sending` and `watch` run in the coordinator, `task` and `material` on the
cluster's workers. May import `workers` and the layers below it; nothing else imports Dask.
"""
