"""A patient of your own, drawn from your user name.

The same user name always gives the same patient, and two names hardly ever share one. On
JupyterHub, the user name is known. Elsewhere, you write it into the notebook once.
"""

import hashlib
import os

COURSE = "curve-fitting"
ASSIGNMENT = "local-gradients"


def student_id(my_id=""):
    """Return the id that your patient is drawn for: `my_id`, else your name on JupyterHub."""
    written = str(my_id or "").strip()
    if written:
        return written
    hub_user = os.environ.get("JUPYTERHUB_USER")
    if not hub_user:
        # The account of a computer at home is not the one that the university knows.
        print("There is no id yet, so this is a patient for practice. Set MY_ID to get your own.")
        return "nobody"
    # nbgrader submits under the name of the account. In containers, all accounts have the same
    # name, jovyan, and nbgrader takes the name of JupyterHub there.
    account = _account()
    return hub_user if account in ("", "jovyan") else account


def patient(student):
    """Return age in years, blood pressure in mmHg, and the slope and intercept to start from."""
    attempt = 0
    while True:
        numbers = _draw(student, attempt)
        if 3 <= abs(_residual(*numbers)) <= 60:  # neither a lucky nor a hopeless start
            return numbers
        attempt += 1


def _account():
    """Return the name of this computer's account, empty if it has none."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # on Windows; in a container without a list of accounts
        return ""


def _draw(student, attempt):
    """Draw the four numbers from SHA-256, which gives the same ones on every computer."""
    text = "\0".join([COURSE, ASSIGNMENT, student, str(attempt)])
    digest = hashlib.sha256(text.encode()).digest()
    first, second, third, fourth = (
        int.from_bytes(digest[start : start + 8], "big") for start in (0, 8, 16, 24)
    )
    return 20 + first % 61, 95 + second % 101, (1 + third % 15) / 10, 80 + fourth % 71


def _residual(age, sbp, a, b):
    return a * age + b - sbp
