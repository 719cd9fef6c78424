"""The errors of nbmark, sorted by who must act.

* NbmarkError
  x SubmissionError       the student's work: it is graded, and the feedback says what happened
    - CheckFailed         a check found a wrong answer; carries the sentence for the student
    - NotebookUnreadable  the submitted file is not a notebook
    - UnsafeFile          a submitted file that is not opened or copied
    - UnreadableTime      the time of submission is not certain, so it has no consequence
    - UnreadableAnswer    the student's process answered with something that is not plain data
  x AssignmentError       the instructor's material: nobody is graded until it is fixed
    - UsageError          the command named something that does not exist, or options that clash
  x InfrastructureError   our own failure: no grade is written, the submission stays due
    - SandboxUnavailable  this machine cannot build a sandbox
    - ServerLost          the fork server ended while a submission ran, which is then run again
    - WorkersLost         no worker is left: the batch ends, and the written grades are complete
    - EvidenceUnusable    the record of a grading is missing, damaged or of another version
    - LatePenaltyError    the course's plug-in for late penalties failed
    - NeverAsked          evidence lacks the answer to a question: the notebook must run again
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NbmarkError(Exception):
    """A problem whose message can be shown as it is, on one line."""


class SubmissionError(NbmarkError):
    """Something is wrong with a submission; it is graded all the same."""


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


class NotebookUnreadable(SubmissionError):
    """The file is not a notebook; the message says so to a beginner."""


class UnsafeFile(SubmissionError):
    """A file that is not read; the message names the file and the reason."""


class UnreadableTime(SubmissionError):
    """A time that is not read, because a guess could cost points; the message says why."""


class UnreadableAnswer(SubmissionError):
    """The answer from the student's process is not plain data."""


class AssignmentError(NbmarkError):
    """The instructor's material is broken, so nobody is graded on it."""


class UsageError(AssignmentError):
    """A name that does not exist, with the nearest one that does, or options that do not fit."""


class InfrastructureError(NbmarkError):
    """Our own failure: earlier grades stay as they were and the submission stays due."""


class SandboxUnavailable(InfrastructureError):
    """This machine cannot build a sandbox; the message names the remedy."""


class ServerLost(InfrastructureError):
    """The fork server ended while a submission ran in its child: not the student's fault."""


class WorkersLost(InfrastructureError):
    """The other machines cannot go on: nothing more is tried, and the rest stays due."""


class EvidenceUnusable(InfrastructureError):
    """The evidence of a complete grading cannot be used; the message names the file and the fix."""


class LatePenaltyError(InfrastructureError):
    """The course's plug-in for late penalties failed; the message names the plug-in."""


class NeverAsked(InfrastructureError):
    """A check asks something that no check asked when the notebook ran, so it must run again."""


def unknown(kind: str, name: str, where: str, known_names: Iterable[str]) -> UsageError:
    """Return an error with the name asked for, the place, the names there, and the nearest one."""
    # A folder of a student may have any name, also one that a terminal would obey.
    names = sorted(name for name in known_names if name.isprintable())
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "none"
    near = difflib.get_close_matches(name, names, n=1)
    hint = f". Did you mean '{near[0]}'?" if near else ""
    return UsageError(f"no {kind} '{name}' under {where} (found: {listed}){hint}")
