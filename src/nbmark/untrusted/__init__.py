"""Read and show what students made, without trusting it.

Runs in every process that touches a submission: coordinator, check process, nbgrader, formgrader.
May import only the shared modules (`errors`, `limits`, `models`, `notebooks`).
"""
