"""The program ``nbmark``: one file a command, and their shared parts.

Runs in the coordinator. May import everything.
"""
