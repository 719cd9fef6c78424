"""One assignment to grade or to regrade, with everything that is needed for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nbmark.authoring.verify import ensure_verified
from nbmark.course.course import Assignment
from nbmark.course.folders import Folders
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.grading.progress import ProgressListener
from nbmark.intake.receive import Inbox
from nbmark.records.store import Records
from nbmark.sandbox import walls


@dataclass(frozen=True)
class JobOptions:
    """The options of a job.

    Parameters
    ----------
    sandbox
        The kind of sandbox, a key of `walls.KINDS`.
    force
        Whether to grade submissions again that are graded already.
    create_students
        Whether a submission may add its student to the gradebook.
    """

    sandbox: str
    force: bool = False
    create_students: bool = True


@dataclass(frozen=True)
class Job:
    """An assignment to work on, and the students.

    Parameters
    ----------
    students
        Their ids, None for all of them.
    """

    assignment: Assignment
    gradebook: CourseGradebook
    folders: Folders
    students: Sequence[str] | None
    options: JobOptions
    watcher: ProgressListener = field(default_factory=ProgressListener)

    @contextlib.contextmanager
    def begun(self) -> Iterator[tuple[Inbox, Records]]:
        """Hold one connection to the gradebook, with verified material.

        Raises
        ------
        SandboxUnavailable
            If students' code could read the course's files.
        AssignmentError
            If the material is broken.
        """
        course, sandbox = self.assignment.course, self.options.sandbox
        walls.refuse_exposed(sandbox, course.root, "move the course")
        with self.gradebook.kept_open():
            ensure_verified(self.assignment, sandbox, on_case=self.watcher.verifying)
            records = Records(self.assignment, self.gradebook, self.folders)
            yield Inbox(self.assignment, self.folders, self.gradebook.lms_user_ids()), records

    def enter_assignment(self, records: Records) -> None:
        """Bring the gradebook up to date with the assignment's source, and report what changed."""
        for line in records.enter_assignment():
            self.watcher.noted(line)
