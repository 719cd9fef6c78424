"""The sandbox around a student's code: how it is built, watched and talked to.

Runs in check processes, on the trusted side; only `sandbox.inside` runs within the sandbox. May
import `untrusted` and the shared words, but nothing of checks or grades.
"""
