"""The program ``nbmark``: one file a command, and what the commands share.

Runs in the coordinator. May import everything.
"""
