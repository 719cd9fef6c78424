"""The instructor's side of a course, and where nbgrader keeps its folders.

Runs in the coordinator and in check processes. May import `untrusted` and the shared modules
(`errors`, `limits`, `models`, `notebooks`, `versions`).
"""
