"""The processes that run submissions: a pool on this machine, or a Dask cluster.

Runs in the coordinator and, on a cluster, in Dask's workers; `process` is also the program of a
check process. May import `checks` and the layers below it.
"""
