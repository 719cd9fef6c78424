"""The sandbox around a student's code: building it, watching it and talking to it.

Runs in the coordinator, which starts the fork server, and in check processes, which open sessions;
only `sandbox.inside` runs within the sandbox. May import `untrusted` and the shared modules, but
nothing of checks or grades.
"""
