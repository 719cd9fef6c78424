"""The two jobs, grading and regrading, and the checks of ``nbmark doctor``.

Runs in the coordinator; a job holds the course lock. May import everything except `export` and
`commands`.
"""
