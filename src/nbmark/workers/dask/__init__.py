"""Workers on other machines, through Dask.

Runs in the coordinator (`cluster`, `connection`) and on the cluster's workers (`task`, `material`).
May import `workers` and what stands below; nothing else imports Dask.
"""
