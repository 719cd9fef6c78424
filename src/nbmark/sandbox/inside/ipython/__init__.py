"""The kernel that runs a student's notebook: IPython's, as ipykernel sets it up.

Runs in the sandbox. May import `inside`, and nothing else of nbmark. `kernel` carries out requests,
`application` and `channel` stand in for ipykernel's application and its sockets, `plots` keeps
pictures, and `rehearsal` uses the libraries once before a fork.
"""
