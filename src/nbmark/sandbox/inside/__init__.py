"""What runs inside the wall, beside the student's code: nothing here may import the rest of nbmark.

`start` runs either `driver`, which makes a kernel for one submission, or `server`, which has
imported what an assignment needs (`preload` opens its libraries, `rehearsal` uses them once) and
forks a `driver` for each, closed in by `isolation`. `kernel` is ipykernel's, fed by `frames`;
`agent` answers questions in it, `outputs` collects what it shows. They hold no secret: a student may
read them.
"""
