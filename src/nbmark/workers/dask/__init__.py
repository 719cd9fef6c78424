"""Workers on other machines, through Dask.

`cluster`, `connection`, `sending` and `watch` run in the coordinator, `task` and `material` on the
cluster's workers. May import `workers` and what stands below; nothing else imports Dask.
"""
