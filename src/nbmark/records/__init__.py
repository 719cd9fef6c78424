"""The records of a grading, and the order in which they are written.

Runs in the coordinator. May import `gradebook`, `intake`, `checks.points` and the layers below it.
"""
