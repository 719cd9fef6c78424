"""The gradebook as files for other programs.

Runs inside ``nbgrader export``. May import `gradebook`, `intake` and what stands below.
"""
