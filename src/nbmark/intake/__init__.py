"""The way of a submission from the exchange to a list of cells in their proper places.

`collect` runs inside ``nbgrader collect``, `receive` in the coordinator, and `restore` in check
processes. May import `gradebook` and the layers below.
"""
