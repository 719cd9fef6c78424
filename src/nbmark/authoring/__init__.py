"""Verification: an assignment's own right and wrong answers are graded before any student's.

Runs in the coordinator. May import `workers`, `records.feedback` and the layers below it.
"""
