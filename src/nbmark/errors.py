"""Everything that can go wrong, sorted by who must act.

* NbmarkError
  x SubmissionError       the student's work: it is graded, and the feedback says what happened
    - CheckFailed         a check found a wrong answer; carries the sentence for the student
  x AssignmentError       the instructor's material: nobody is graded until it is mended
    - UsageError          the command asked for something that does not exist, or does not fit
  x InfrastructureError   ours: no grade is written, the submission stays due
    - SandboxUnavailable  no wall can be built on this machine
    - ServerLost          the fork server ended under a submission, which is run again
    - WorkersLost         nobody is left to grade: the batch ends, what is written is complete
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NbmarkError(Exception):
    """A problem with a message that can be shown as it is, on one line."""


class SubmissionError(NbmarkError):
    """Something is wrong with what a student handed in; it is graded all the same."""


class CheckFailed(SubmissionError):
    """A check found a wrong answer.

    Parameters
    ----------
    says
        The sentence for the student. It never holds the expected value.
    own
        The student's own value as text, empty if there is none to show.
    """

    def __init__(self, says: str, own: str = "") -> None:
        super().__init__(says)
        self.says = says
        self.own = own


class AssignmentError(NbmarkError):
    """The instructor's material is broken: nobody is graded on it."""


class UsageError(AssignmentError):
    """A name that does not exist, with the nearest one that does, or options that do not fit."""


class InfrastructureError(NbmarkError):
    """Our own trouble: earlier grades stay as they were and the submission stays due."""


class ServerLost(InfrastructureError):
    """The fork server ended while a submission ran in its child: not the student's doing."""


class SandboxUnavailable(InfrastructureError):
    """No sandbox can be built here; the message names the remedy."""


class WorkersLost(InfrastructureError):
    """The other machines cannot go on: nothing more is tried, and the rest stays due."""


def unknown(kind: str, name: str, where: str, found: Iterable[str]) -> UsageError:
    """An error that names what was asked, where, what is there, and the nearest match."""
    names = sorted(found)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "none"
    near = difflib.get_close_matches(name, names, n=1)
    hint = f". Did you mean '{near[0]}'?" if near else ""
    return UsageError(f"no {kind} '{name}' under {where} (found: {listed}){hint}")
