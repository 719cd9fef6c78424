"""The processes that run submissions: a pool on this machine, or a Dask cluster.

The coordinator imports this folder; `process` is also the program of a check process. May import
`checks` and what stands below.
"""
