"""Workers on other machines, through Dask.

`cluster` and `connection` run in the coordinator, `task` and `material` on the cluster's workers.
May import `workers` and what stands below; nothing else imports Dask.
"""
