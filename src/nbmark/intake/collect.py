"""Collection of submissions from the exchange, where students can put any file.

`nbgrader_plugins` offers `SafeCollect` to ``c.ExchangeFactory.collect``. Stock nbgrader follows
symbolic links with the instructor's rights, and collects files that one student submitted in
another's name.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nbgrader.exchange.default.collect import ExchangeCollect
from nbgrader.utils import ignore_patterns
from traitlets import Integer

from nbmark.course.times import TimestampReader
from nbmark.errors import UnreadableTime, UnsafeFile
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.untrusted.files import Caps, read_regular, replaced_folder, walk_regular, write_atomic
from nbmark.untrusted.names import printable_name, unfit_as_id


@dataclass(frozen=True)
class Entry:
    """A submission in the exchange's ``inbound`` folder."""

    student: str
    timestamp: datetime
    path: Path


class SafeCollect(ExchangeCollect):  # type: ignore[misc]  # nbgrader has no type hints
    """nbgrader's collect, which takes regular files of the right owner and skips bad entries."""

    max_files = Integer(100, help="Most files taken from one submission.").tag(config=True)
    max_file_bytes = Integer(100_000_000, help="Largest file taken, in bytes.").tag(config=True)
    max_total_bytes = Integer(150_000_000, help="Most bytes taken from one submission.").tag(
        config=True
    )

    def init_src(self) -> None:
        """Find the entries to collect: the newest acceptable one of each student."""
        if not self.coursedir.course_id:
            self.fail("No course id specified. Re-run with --course flag.")
        self.inbound_path = os.path.join(self.root, self.coursedir.course_id, "inbound")
        if not os.path.isdir(self.inbound_path):
            self.fail(f"Course not found: {self.inbound_path}")
        self.skipped = 0
        by_student: dict[str, list[Entry]] = defaultdict(list)
        for name in sorted(os.listdir(self.inbound_path)):
            entry = self._entry(name)
            if entry is not None:
                by_student[entry.student].append(entry)
        self.entries = [self._chosen(entries) for entries in by_student.values()]

    def copy_files(self) -> None:
        """Collect the entries one by one; report an entry that cannot be read, and go on."""
        collected = up_to_date = 0
        for entry in self.entries:
            try:
                copied = self._collect(entry)
            except (UnsafeFile, OSError) as error:
                self._skip(entry.path.name, str(error))
            else:
                collected, up_to_date = collected + copied, up_to_date + (not copied)
        self.log.info(
            "%d submissions of '%s' collected, %d up to date, %d entries skipped",
            collected,
            self.coursedir.assignment_id,
            up_to_date,
            self.skipped,
        )

    def _entry(self, name: str) -> Entry | None:
        """Return the entry called ``student+assignment+timestamp[+secret]``, or None.

        None stands for another assignment's entry, and for one that is reported and skipped.
        """
        # A student id may hold "+", so the last place with the assignment's name counts.
        student, separator, time_and_secret = name.rpartition(f"+{self.coursedir.assignment_id}+")
        path = Path(self.inbound_path, name)
        if not separator or self.coursedir.student_id not in ("", "*", student):
            return None
        try:
            unfit = unfit_as_id(student)
            if unfit:
                raise UnsafeFile(f"its student id cannot be the name of a folder: {unfit}")
            timestamp = self._time(time_and_secret)
            self._refuse_other_owner(student, path)
        except (UnsafeFile, UnreadableTime, OSError) as error:
            self._skip(name, str(error))
            return None
        return Entry(student, timestamp, path)

    def _time(self, time_and_secret: str) -> datetime:
        """Return the time at the end of an entry's name; the secret behind it is optional."""
        timestamps = TimestampReader(self.timezone, self.timestamp_format)
        time, plus, _ = time_and_secret.rpartition("+")
        # The "+" may also belong to the time, as in 10:00:00 +0100.
        with contextlib.suppress(UnreadableTime):
            return timestamps.read(time_and_secret)
        return timestamps.read(time if plus else time_and_secret)

    def _refuse_other_owner(self, student: str, path: Path) -> None:
        """Raise `UnsafeFile` unless the entry is a folder that belongs to the student."""
        status = os.lstat(path)  # of a link itself, not of its target
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafeFile("it is not a folder")
        # Anybody can write any name into the exchange, but the owner cannot be forged.
        if self.check_owner and status.st_uid != _user_id(student):
            raise UnsafeFile(
                f"it claims to be from '{student}' but belongs to user id {status.st_uid}; ask "
                "both users"
            )

    def _chosen(self, entries: list[Entry]) -> Entry:
        """Return the newest entry of a student.

        With ``before_duedate`` it is the newest that is in time, if there is one.
        """
        newest_first = sorted(entries, key=lambda entry: entry.timestamp, reverse=True)
        duedate = None
        if self.before_duedate:
            gradebook = CourseGradebook(self.coursedir, self.config)
            duedate = gradebook.due_date(self.coursedir.assignment_id)
        in_time = [entry for entry in newest_first if duedate is None or entry.timestamp <= duedate]
        return (in_time or newest_first)[0]

    def _collect(self, entry: Entry) -> bool:
        """Copy an entry to ``submitted/`` unless it is there; return whether it was copied."""
        directory = self.coursedir.submitted_directory
        target = Path(
            self.coursedir.format_path(directory, entry.student, self.coursedir.assignment_id)
        )
        # Through a link the copy would land outside submitted/.
        for folder in (target, target.parent):
            if folder.is_symlink():
                raise UnsafeFile(f"{folder} is a link; remove it")
        if target.is_dir() and not self._replaces(entry, target):
            self.log.info(
                "%s is up to date; run with --update to collect a newer submission", entry.student
            )
            return False
        # A copy that fails halfway leaves the earlier submission as it was.
        with replaced_folder(target) as new_folder:
            self._copy(entry, new_folder)
        self.log.info("Collected: %s %s", entry.student, self.coursedir.assignment_id)
        return True

    def _replaces(self, entry: Entry, target: Path) -> bool:
        """Return whether an entry replaces the submission that was collected earlier."""
        collected_at = self._time_of(target)
        if self.update and (collected_at is None or entry.timestamp > collected_at):
            return True
        # The entry in time may be older than a late one that is there already.
        return bool(self.before_duedate and collected_at != entry.timestamp)

    def _time_of(self, target: Path) -> datetime | None:
        """Return when a collected submission was handed in, None if its time cannot be read."""
        try:
            stamp = read_regular(target, "timestamp.txt", max_bytes=self.max_file_bytes)
            return self._time(stamp.decode("utf-8", "replace"))
        except (FileNotFoundError, UnsafeFile, UnreadableTime):
            return None

    def _copy(self, entry: Entry, target: Path) -> None:
        """Copy the regular files of an entry, except those that the course ignores."""
        owner = os.lstat(entry.path).st_uid if self.check_owner else None
        caps = Caps(self.max_files, self.max_file_bytes, self.max_total_bytes)
        ignored = ignore_patterns(exclude=self.coursedir.ignore, include=self.coursedir.include)
        files, skipped = walk_regular(
            entry.path, caps, owner, lambda name: bool(ignored(str(entry.path), [name]))
        )
        for error in skipped:
            self._report(entry.path.name, str(error))
        for file in files:
            # The student may change the file after the walk, so reading checks it again.
            data = read_regular(entry.path, file.name, max_bytes=self.max_file_bytes, owner=owner)
            (target / file.name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target / file.name, data)

    def _skip(self, name: str, reason: str) -> None:
        """Report an entry that is not collected at all, and count it."""
        self.skipped += 1
        self._report(name, reason)

    def _report(self, name: str, reason: str) -> None:
        self.log.warning("Not collected from the exchange: %s: %s", printable_name(name), reason)


def _user_id(student: str) -> int | None:
    """Return the user id of a student, or None if the machine has no such user."""
    try:
        return pwd.getpwnam(student).pw_uid
    except KeyError:
        return None
