"""The course folder: its assignments as the instructor wrote them."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from nbmark.course.imports import imported_by
from nbmark.course.settings import Settings, read_settings
from nbmark.errors import AssignmentError, NotebookUnreadable, unknown
from nbmark.limits import Limits
from nbmark.notebooks import Cell, read_notebook
from nbmark.untrusted.files import make_private

MAX_FILES_BYTES = 32 << 20


class Course:
    """An nbgrader course directory with a folder `graders/`.

    Attributes
    ----------
    state
        ``.nbmark/``, mode 0700: the course secret and the lock.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.graders = self.root / "graders"
        self.evidence = self.root / "evidence"
        self.state = self.root / ".nbmark"

    @property
    def assignment_names(self) -> list[str]:
        """Return the names of the assignments in ``source/`` that have hidden checks, sorted."""
        return sorted(
            name for name in _folders(self.root / "source") if (self.graders / name).is_dir()
        )

    def assignment(self, name: str) -> Assignment:
        """Return the assignment called `name`.

        Raises
        ------
        UsageError
            If ``source/`` has no such assignment.
        AssignmentError
            If ``graders/<name>`` is missing, or the source cannot be read.
        """
        source = self.root / "source"
        if not _is_folder_name(name) or not (source / name).is_dir():
            raise unknown("assignment", name, "source/", _folders(source))
        if not (self.graders / name).is_dir():
            raise AssignmentError(
                f"assignment '{name}' has no hidden checks: graders/{name} is missing; "
                f"create it with a file test_{name}.py (docs/checks.md shows how)"
            )
        return Assignment(self, name)

    def secret(self) -> bytes:
        """Return the 32 random bytes that hidden inputs are drawn with, made once a course."""
        path = self.state / "secret"
        make_private(self.state)
        if not path.exists():
            fd = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(secrets.token_bytes(32))
            path.with_suffix(".new").replace(path)
        return path.read_bytes()


class Assignment:
    """The instructor's side of one assignment, read from ``source/`` and ``graders/``."""

    def __init__(self, course: Course, name: str) -> None:
        self.course, self.name = course, name
        self.graders = course.graders / name
        self.source = course.root / "source" / name
        self.release = course.root / "release" / name
        self.record = self.graders / "verified.json"

    @functools.cached_property
    def notebooks(self) -> dict[str, list[Cell]]:
        """Return the cells of each notebook by name, solutions included.

        Raises
        ------
        AssignmentError
            If there is no notebook, one cannot be read, two cells share a grade id, or a grade cell
            has no points.
        """
        notebooks = {path.stem: _read(path) for path in sorted(self.source.glob("*.ipynb"))}
        if not notebooks:
            raise AssignmentError(f"no notebook under source/{self.name}")
        cells = [cell for cells in notebooks.values() for cell in cells]
        self._refuse_shared_ids([cell.grade_id for cell in cells if cell.grade_id])
        for cell in cells:
            if cell.has_points:
                self._refuse_pointless(cell)
        return notebooks

    def _refuse_shared_ids(self, ids: list[str]) -> None:
        for grade_id in sorted(ids):
            if ids.count(grade_id) > 1:
                raise AssignmentError(
                    f"source/{self.name}: two cells have the grade id '{grade_id}'"
                )

    def _refuse_pointless(self, cell: Cell) -> None:
        points = cell.nbgrader.get("points")
        if not isinstance(points, int | float) or not 0 <= points < math.inf:
            has = "no points" if points is None else f"points = {points!r}"
            raise AssignmentError(
                f"source/{self.name}: the grade cell '{cell.grade_id}' has {has}; give it a "
                "number, 0 or more, in JupyterLab's 'Create Assignment'"
            )

    @functools.cached_property
    def released(self) -> dict[str, list[Cell]]:
        """Return the cells of each released notebook as students receive it, by name.

        Raises
        ------
        AssignmentError
            If a released notebook cannot be read.
        """
        paths = {name: self.release / f"{name}.ipynb" for name in self.notebooks}
        return {name: _read(path) for name, path in paths.items() if path.exists()}

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """Return the bytes of the files beside the notebooks, by path below ``source/<name>``.

        Raises
        ------
        AssignmentError
            If they are larger than a sandbox takes.
        """
        paths = [path for path in sorted(_files(self.source)) if path.suffix != ".ipynb"]
        total = sum(path.stat().st_size for path in paths)
        if total > MAX_FILES_BYTES:
            raise AssignmentError(
                f"source/{self.name}: the files beside the notebooks have {total >> 20} MiB; every "
                f"submission gets a copy, so they may have {MAX_FILES_BYTES >> 20}"
            )
        return {str(path.relative_to(self.source)): path.read_bytes() for path in paths}

    def source_digest(self) -> str:
        """Return the SHA-256 of everything that is the instructor's in a student's notebook."""
        locked = [c for cells in self.notebooks.values() for c in cells if c.is_locked]
        parts = [part for cell in locked for part in (cell.grade_id.encode(), cell.source.encode())]
        parts += [part for name, data in self.files.items() for part in (name.encode(), data)]
        total = hashlib.sha256()
        for part in parts:
            total.update(hashlib.sha256(part).digest())
        return total.hexdigest()

    @property
    def autograded_cells(self) -> dict[str, float]:
        """Return the points of every cell that hidden checks score, by grade id."""
        return {
            cell.grade_id: float(cell.nbgrader["points"])
            for cells in self.notebooks.values()
            for cell in cells
            if cell.is_autograded
        }

    @property
    def limits(self) -> Limits:
        """Return the limits of each submission: the defaults, changed by ``assignment.toml``."""
        return self._settings.limits

    @property
    def uses_fork_server(self) -> bool:
        """Return whether submissions share imports; ``assignment.toml`` may say ``use = false``."""
        return self._settings.fork_server.use

    @property
    def student_files(self) -> list[str]:
        """Return the patterns of the files that students may bring; see `FilesSettings`."""
        return self._settings.files.students

    @functools.cached_property
    def imports(self) -> list[str]:
        """Return the modules for the fork server: the notebooks' imports and the settings' own."""
        cells = [cell for cells in self.notebooks.values() for cell in cells]
        sources = [cell.source for cell in cells if cell.kind == "code"]
        modules_beside = {
            name.removesuffix(".py"): data.decode("utf-8", "replace")
            for name, data in self.files.items()
            if name.endswith(".py")
        }
        return [*imported_by(sources, modules_beside), *self._settings.fork_server.imports]

    @functools.cached_property
    def _settings(self) -> Settings:
        where = f"graders/{self.name}/assignment.toml"
        return read_settings(self.graders / "assignment.toml", where)

    @property
    def material(self) -> list[Path]:
        """Return the paths of the files that decide a grade, sorted: checks, source and release.

        Files in ``graders/`` that belong to no assignment count for all of them.
        """
        top, assignments = self.course.graders, set(_folders(self.course.root / "source"))
        shared = (path for path in _files(top) if path.relative_to(top).parts[0] not in assignments)
        files = {*_files(self.graders), *shared, *_files(self.source), *_files(self.release)}
        return sorted(files - {self.record})

    @functools.cached_property
    def digest(self) -> str:
        """Return the SHA-256 of all files that decide a grade.

        Read once, like the notebooks: a file that changes later does not change what this object
        was graded or verified with.
        """
        total = hashlib.sha256()
        for path in self.material:
            total.update(str(path.relative_to(self.course.root)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()


def _read(path: Path) -> list[Cell]:
    try:
        return read_notebook(path.read_bytes())
    except NotebookUnreadable as error:
        raise AssignmentError(f"{path.parent.name}/{path.name}: {error}") from error


def _folders(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden:
            yield path


def _is_folder_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name
