"""The program ``nbmark``: one file per command, and their shared parts.

Runs in the coordinator. May import everything.
"""
