"""The gradebook as files for other programs.

Runs inside ``nbgrader export``. May import `gradebook`, `intake` and the layers below it.
"""
