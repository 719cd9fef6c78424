"""The two jobs: grade what was submitted, and judge graded work again with today's checks.

Runs in the coordinator, under the course lock. May import everything but exporters and commands.
"""
