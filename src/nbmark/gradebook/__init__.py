"""nbgrader's database: the only folder that opens it.

Runs in the coordinator, which is the only writer, and inside ``nbgrader collect``, which reads the
due date. May import `course` and the layers below it.
"""
