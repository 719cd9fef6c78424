"""nbgrader's database: the only folder that opens it.

Runs in the coordinator alone, which is the only writer. May import `course` and what stands below.
"""
