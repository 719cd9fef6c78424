"""Programs that run in the sandbox, beside the student's code.

`start` runs one of two programs. `driver` makes a kernel for one submission. `server` imports the
libraries of an assignment (`preload` opens them early, `rehearsal` uses them once) and forks a
`driver` for each submission, which `isolation` separates from the others. `kernel` is ipykernel's,
with `frames` for its connection; `agent` answers questions in it, in the format of `encoder`;
`outputs` collects its outputs.

Nothing here may import the rest of nbmark, because only this folder is visible in the sandbox. A
student may read it, so it holds no secret.
"""
