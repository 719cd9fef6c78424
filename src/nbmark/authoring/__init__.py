"""An assignment on trial: its own right and wrong answers are graded before any student's.

The coordinator runs these modules. May import `workers`, `records.feedback` and the layers below.
"""
