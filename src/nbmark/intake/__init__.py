"""The path of a submission from the exchange to a list of cells in their proper places.

Runs in three processes: `collect` inside ``nbgrader collect``; `receive`, `beside` and `identity`
in the coordinator; `choose`, `answers`, `later` and `restore` in check processes. May import
`gradebook` and the layers below it.
"""
