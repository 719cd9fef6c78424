"""Points: hidden checks put questions to a student's notebook and judge the answers.

Runs in check processes, under pytest. The coordinator imports `points` alone, so this file imports
nothing. May import `running`, `intake.restore` and the layers below, but never `gradebook` or
`records`.
"""
