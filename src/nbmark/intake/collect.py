"""Collects submissions from the exchange without trusting anything that a student put there.

Used as ``c.ExchangeFactory.collect = "nbmark.intake.collect.SafeCollect"``. Stock nbgrader follows
symbolic links as the instructor and takes over what was submitted in another student's name.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nbgrader.exchange.default.collect import ExchangeCollect
from nbgrader.utils import ignore_patterns, parse_utc
from traitlets import Integer

from nbmark.errors import UnsafeFile
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.intake.receive import is_student_id
from nbmark.untrusted.files import (
    Caps,
    printable_name,
    read_regular,
    replaced_folder,
    walk_regular,
    write_atomic,
)


@dataclass(frozen=True)
class Entry:
    """One submission in the exchange's ``inbound`` folder."""

    student: str
    timestamp: datetime
    path: Path


class SafeCollect(ExchangeCollect):  # type: ignore[misc]  # nbgrader has no type hints
    """nbgrader's collect, with regular files only, the owner checked, and bad entries skipped."""

    max_files = Integer(100, help="Most files taken from one submission.").tag(config=True)
    max_file_bytes = Integer(20_000_000, help="Largest file taken, in bytes.").tag(config=True)
    max_total_bytes = Integer(50_000_000, help="Most bytes taken from one submission.").tag(
        config=True
    )

    def init_src(self) -> None:
        """Find the entries that may be collected: the newest acceptable one of each student."""
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
        """Collect them one by one; what cannot be taken is reported, and the rest goes on."""
        collected = current = 0
        for entry in self.entries:
            try:
                taken = self._collect(entry)
            except (UnsafeFile, OSError) as error:
                self._skip(entry.path.name, str(error))
            else:
                collected, current = collected + taken, current + (not taken)
        self.log.info(
            "%d submissions of '%s' collected, %d up to date, %d entries skipped",
            collected,
            self.coursedir.assignment_id,
            current,
            self.skipped,
        )

    def _entry(self, name: str) -> Entry | None:
        """The entry called ``student+assignment+timestamp[+secret]``, None if it is not ours."""
        for pieces in (name.rsplit("+", 3), name.rsplit("+", 2)):
            if len(pieces) > 2 and pieces[1] == self.coursedir.assignment_id:
                break
        else:
            if f"+{self.coursedir.assignment_id}+" in name:
                self._skip(name, "its name is not student+assignment+time")
            return None
        student, path = pieces[0], Path(self.inbound_path, name)
        if self.coursedir.student_id not in ("", "*", student):
            return None
        try:
            if not is_student_id(student):
                raise UnsafeFile("its student id cannot be the name of a folder")
            stamp = parse_utc(pieces[2])
            self._refuse_stranger(student, path)
        except (UnsafeFile, ValueError, OverflowError, OSError) as error:
            self._skip(name, str(error))
            return None
        return Entry(student, stamp, path)

    def _refuse_stranger(self, student: str, path: Path) -> None:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise UnsafeFile("it is no folder")
        if self.check_owner and found.st_uid != _user_id(student):
            raise UnsafeFile(
                f"it claims to be from '{student}' but belongs to user id {found.st_uid}; ask both"
            )

    def _chosen(self, entries: list[Entry]) -> Entry:
        """The newest entry; with ``before_duedate`` the newest that is in time, if there is one."""
        newest_first = sorted(entries, key=lambda entry: entry.timestamp, reverse=True)
        duedate = None
        if self.before_duedate:
            gradebook = CourseGradebook(self.coursedir, self.config)
            duedate = gradebook.due_date(self.coursedir.assignment_id)
        in_time = [one for one in newest_first if duedate is None or one.timestamp <= duedate]
        return (in_time or newest_first)[0]

    def _collect(self, entry: Entry) -> bool:
        """Copy an entry to ``submitted/`` unless it is there already; whether it was copied."""
        directory = self.coursedir.submitted_directory
        target = Path(
            self.coursedir.format_path(directory, entry.student, self.coursedir.assignment_id)
        )
        for folder in (target, target.parent):
            if folder.is_symlink():
                raise UnsafeFile(f"{folder} is a link; remove it")
        if target.is_dir() and not self._is_wanted(entry, target):
            self.log.info("%s is up to date; newer ones need --update", entry.student)
            return False
        with replaced_folder(target) as fresh:
            self._copy(entry, fresh)
        self.log.info("Collected: %s %s", entry.student, self.coursedir.assignment_id)
        return True

    def _is_wanted(self, entry: Entry, target: Path) -> bool:
        have = self.coursedir.get_existing_timestamp(str(target))
        if self.update and (have is None or entry.timestamp > have):
            return True
        return bool(self.before_duedate and have != entry.timestamp)

    def _copy(self, entry: Entry, target: Path) -> None:
        owner = os.lstat(entry.path).st_uid if self.check_owner else None
        caps = Caps(self.max_files, self.max_file_bytes, self.max_total_bytes)
        ignored = ignore_patterns(exclude=self.coursedir.ignore, include=self.coursedir.include)
        found, skipped = walk_regular(entry.path, caps, owner)
        for error in skipped:
            self._report(entry.path.name, str(error))
        for file in found:
            *folders, name = file.name.split("/")
            if any(ignored(str(entry.path), [part]) for part in (*folders, name)):
                continue
            data = read_regular(entry.path, file.name, max_bytes=self.max_file_bytes, owner=owner)
            (target / file.name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target / file.name, data)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped += 1
        self._report(name, reason)

    def _report(self, name: str, reason: str) -> None:
        self.log.warning("Not collected from the exchange: %s: %s", printable_name(name), reason)


def _user_id(student: str) -> int | None:
    try:
        return pwd.getpwnam(student).pw_uid
    except KeyError:
        return None
