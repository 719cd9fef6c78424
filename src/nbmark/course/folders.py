"""nbgrader's folders of a course, and its configuration.

Uses nbgrader's own object for paths, because ``nbgrader_config.py`` may rename any folder.
"""

from __future__ import annotations

import functools
import glob
import re
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from nbmark.course.slim_nbgrader import slim
from nbmark.course.times import TimestampReader
from nbmark.errors import UsageError

with slim():
    from nbgrader.coursedir import CourseDirectory


# Jupyter's copies of opened notebooks, and the rest of a folder whose replacement was killed.
NOT_A_STUDENT = re.compile(r"\.ipynb_checkpoints|\..*\.(new|old)")


def load_config(root: Path) -> Config:
    """Return the configuration in the course's ``nbgrader_config.py``.

    Raises
    ------
    UsageError
        If `root` is not an nbgrader course.
    """
    if not (root / "nbgrader_config.py").exists():
        raise UsageError(f"no nbgrader_config.py in {root}; run nbmark in the course's folder")
    config: Config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    config.CourseDirectory.setdefault("root", str(root))
    return config


class Folders:
    """The folders in which nbgrader keeps submissions and graded work.

    Parameters
    ----------
    coursedir
        nbgrader's own object for the folders of a course.
    """

    def __init__(self, coursedir: CourseDirectory) -> None:
        self._coursedir = coursedir

    @classmethod
    def of_course(cls, config: Config) -> Folders:
        return cls(CourseDirectory(config=config))

    def submitted(self, student: str, assignment: str) -> Path:
        """Return the folder with a student's submission; it need not exist."""
        return self._path(self._coursedir.submitted_directory, student, assignment)

    def autograded(self, student: str, assignment: str) -> Path:
        """Return the folder for a student's graded notebooks; it need not exist."""
        return self._path(self._coursedir.autograded_directory, student, assignment)

    def students(self, assignment: str) -> list[str]:
        """Return the names of the students' folders under ``submitted/``, sorted.

        A name need not be possible as an id, so that a refused folder is reported.
        """
        folder = self._coursedir.submitted_directory
        pattern = re.compile(
            self._coursedir.format_path(
                folder, "(?P<student>.+)", re.escape(assignment), escape=True
            ),
            re.DOTALL,  # a hostile name may hold a line break
        )
        # The course itself may lie below a folder with brackets in its name.
        any_student = self._coursedir.format_path(folder, "\0", assignment)
        paths = glob.glob(glob.escape(any_student).replace("\0", "*"), include_hidden=True)
        names = [match["student"] for path in paths if (match := pattern.fullmatch(path))]
        return sorted(name for name in names if not NOT_A_STUDENT.fullmatch(name))

    @functools.cached_property
    def timestamps(self) -> TimestampReader:
        """Return the reader for times as this course's exchange writes them."""
        return TimestampReader.of_course(self._coursedir.config)

    def _path(self, step: str, student: str, assignment: str) -> Path:
        return Path(self._coursedir.format_path(step, student, assignment))
