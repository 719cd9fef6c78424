"""The two jobs: grade submissions, and judge graded ones again with today's checks.

Runs in the coordinator, under the course lock. May import everything but exporters and commands.
"""
