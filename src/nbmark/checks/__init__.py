"""Where points come from: hidden checks ask a student's notebook and judge its answers.

Runs in check processes, under pytest; the coordinator imports `points` alone, so this file stays
free of imports. May import `running`, `intake.restore` and what stands below, and never reaches
`gradebook` or `records`.
"""
