"""Programs that run in the sandbox, beside the student's code.

`start` runs one of two programs. `driver` makes a kernel for one submission. `server` imports the
libraries of an assignment (`preload` opens them early) and forks a `driver` for each submission,
which `isolation` separates from the others. The kernel in `ipython/` talks to its driver in
`frames`; `agent` answers questions in it, in the format of `encoder`; `outputs` collects its
outputs, and `clocks` measures the time of a request.

Nothing here may import the rest of nbmark, because only this folder is visible in the sandbox. A
student may read it, so it holds no secret.
"""
