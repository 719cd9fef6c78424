"""The wall around a student's code: one interface, two builders.

`open_session` is all that the rest of nbmark uses. A fork server would be a third builder: it
hands out sessions whose kernel is already warm.
"""

from __future__ import annotations

from nbmark.limits import Limits
from nbmark.sandboxes import bare, bubblewrap
from nbmark.sandboxes.session import Session

KINDS = {"bubblewrap": bubblewrap.command, "none": bare.command}


def open_session(kind: str, limits: Limits) -> Session:
    """A running kernel behind the wall `kind`, ready for the first cell.

    Raises
    ------
    SandboxUnavailable
        If no wall can be built on this machine; the message names the remedy.
    """
    return Session(KINDS[kind](limits), limits)
