"""The sandbox around a student's code: building it, watching it and talking to it.

Runs in check processes, on the trusted side; only `sandbox.inside` runs within the sandbox. May
import `untrusted` and the shared words, but nothing of checks or grades.
"""
