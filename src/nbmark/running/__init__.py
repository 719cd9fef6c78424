"""A submission at work: its notebooks run cell by cell in sandboxes, or it answers from evidence.

Runs in check processes. May import `sandbox` and the layers below it.
"""
