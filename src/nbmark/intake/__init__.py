"""The way of a submission from the exchange to cells that stand where they belong.

`collect` runs inside ``nbgrader collect``, `receive` in the coordinator, `restore` in check
processes. May import `gradebook` and what stands below.
"""
