"""Other ids of a student: the account that submits may have another name than the student knows.

The Littlest JupyterHub runs the server of the hub's user ``zoe`` under the account ``jupyter-zoe``,
and nbgrader's exchange submits under the name of the account. Personal numbers may be drawn for
either name, so checks accept both.
"""

from __future__ import annotations

import hashlib

LITTLEST_PREFIX = "jupyter-"
LITTLEST_LENGTH = 26  # of an account's name before the hash that replaces the rest


def aliases_of(student: str, lms_user_id: str | None = None) -> tuple[str, ...]:
    """Return the other ids under which the student may have worked.

    Parameters
    ----------
    student
        The id under which the submission was collected.
    lms_user_id
        The id in the learning management system, if the gradebook has one.
    """
    names = [student, lms_user_id] if lms_user_id else [student]
    aliases = [
        alias
        for name in names
        for alias in (name, name.removeprefix(LITTLEST_PREFIX), littlest_account(name))
    ]
    return tuple(alias for alias in dict.fromkeys(aliases) if alias != student)


def littlest_account(hub_user: str) -> str:
    """Return the account of The Littlest JupyterHub for a user of the hub.

    The hub shortens long names to 26 characters, and appends five characters of the hash.
    """
    account = LITTLEST_PREFIX + hub_user
    if len(account) < LITTLEST_LENGTH:
        return account
    digest = hashlib.sha256(account.encode()).hexdigest()
    return f"{account[:LITTLEST_LENGTH]}-{digest[:5]}"
