"""The processes that run submissions: a pool on this machine, or a Dask cluster.

Runs in the coordinator, but for `process`, which is also the program of a check process. May
import `checks` and what stands below.
"""
