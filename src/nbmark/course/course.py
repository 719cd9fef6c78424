"""The course folder: its assignments as the instructor wrote them, and where things are kept."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import secrets
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nbmark.errors import AssignmentError, unknown
from nbmark.imports import imported_by
from nbmark.limits import Limits
from nbmark.notebooks import Cell, NotebookUnreadable, read_notebook

MAX_FILES_BYTES = 32 << 20
SETTINGS = {"limits": {one.name for one in fields(Limits)}, "fork_server": {"imports", "use"}}


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
        """The assignments under ``source/`` that have hidden checks, in alphabetical order."""
        return sorted(
            name for name in _folders(self.root / "source") if (self.graders / name).is_dir()
        )

    def assignment(self, name: str) -> Assignment:
        """The assignment called `name`.

        Raises
        ------
        UsageError
            If there is none in ``source/``.
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
        """32 random bytes, made once: hidden inputs are drawn with them."""
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
        """Notebook name → cells, with the solutions in.

        Raises
        ------
        AssignmentError
            If there is no notebook, one cannot be read, two cells share a grade id, or a grade cell
            has no points.
        """
        found = {path.stem: _read(path) for path in sorted(self.source.glob("*.ipynb"))}
        if not found:
            raise AssignmentError(f"no notebook under source/{self.name}")
        ids = [cell.grade_id for cells in found.values() for cell in cells if cell.grade_id]
        for one in sorted({one for one in ids if ids.count(one) > 1}):
            raise AssignmentError(f"source/{self.name}: two cells have the grade id '{one}'")
        for cell in (cell for cells in found.values() for cell in cells if cell.is_grade):
            points = cell.nbgrader.get("points")
            if not isinstance(points, int | float) or not 0 <= points < math.inf:
                has = "no points" if points is None else f"points = {points!r}"
                raise AssignmentError(
                    f"source/{self.name}: the grade cell '{cell.grade_id}' has {has}; give it a "
                    "number, 0 or more, in JupyterLab's 'Create Assignment'"
                )
        return found

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """Path below the assignment's folder → bytes of what is shipped beside its notebooks.

        Raises
        ------
        AssignmentError
            If it is more than a sandbox takes.
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
        """SHA-256 of what a student's notebook runs that is the instructor's, not the student's."""
        total = hashlib.sha256()
        locked = [c for cells in self.notebooks.values() for c in cells if c.is_locked]
        parts = [part for one in locked for part in (one.grade_id.encode(), one.source.encode())]
        parts += [part for name, data in self.files.items() for part in (name.encode(), data)]
        for part in parts:
            total.update(hashlib.sha256(part).digest())
        return total.hexdigest()

    @property
    def autograded_cells(self) -> dict[str, float]:
        """Grade id → points of every cell whose points come from hidden checks."""
        return {
            cell.grade_id: float(cell.nbgrader["points"])
            for cells in self.notebooks.values()
            for cell in cells
            if cell.is_autograded
        }

    @functools.cached_property
    def limits(self) -> Limits:
        """The assignment's limits: the defaults, changed by ``[limits]`` in ``assignment.toml``."""
        changed = self._settings["limits"]
        for name, amount in changed.items():
            whole = isinstance(getattr(Limits, name), int)
            fits = type(amount) is int or (type(amount) is float and not whole)
            if not fits or not 0 < amount < math.inf:
                wanted = "a whole number" if whole else "a number"
                raise AssignmentError(
                    f"graders/{self.name}/assignment.toml: {name} = {amount!r}; "
                    f"this limit is {wanted} above 0"
                )
        return replace(Limits(), **changed)

    @functools.cached_property
    def imports(self) -> list[str]:
        """What a fork server imports: what the source notebooks import, and what
        ``imports`` under ``[fork_server]`` in ``assignment.toml`` adds."""
        more = self._settings["fork_server"].get("imports", [])
        if not isinstance(more, list) or not all(map(_is_module_name, more)):
            raise AssignmentError(
                f"graders/{self.name}/assignment.toml: imports = {more!r}; "
                'it takes a list of names of modules, as in ["scipy.optimize"]'
            )
        cells = [cell for cells in self.notebooks.values() for cell in cells]
        sources = [cell.source for cell in cells if cell.kind == "code"]
        beside = {
            name.removesuffix(".py"): data.decode("utf-8", "replace")
            for name, data in self.files.items()
            if name.endswith(".py")
        }
        return [*imported_by(sources, beside), *more]

    @property
    def uses_fork_server(self) -> bool:
        """Unless ``use = false`` stands under ``[fork_server]`` in ``assignment.toml``."""
        use = self._settings["fork_server"].get("use", True)
        if not isinstance(use, bool):
            raise AssignmentError(
                f"graders/{self.name}/assignment.toml: use = {use!r}; it takes true or false"
            )
        return use

    @functools.cached_property
    def _settings(self) -> dict[str, dict[str, Any]]:
        """The tables of ``assignment.toml``, empty where it lacks one."""
        path = self.graders / "assignment.toml"
        where = f"graders/{self.name}/assignment.toml"
        try:
            found = tomllib.loads(path.read_bytes().decode()) if path.exists() else {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AssignmentError(f"{where} is no TOML in UTF-8: {error}") from error
        for table, settings in found.items():
            if table not in SETTINGS:
                raise unknown("table", table, where, SETTINGS)
            if not isinstance(settings, dict):
                raise AssignmentError(f"{where}: '{table}' must be a table, as in [{table}]")
            for name in settings:
                if name not in SETTINGS[table]:
                    raise unknown(f"setting of [{table}]", name, where, SETTINGS[table])
        return {table: found.get(table, {}) for table in SETTINGS}

    @property
    def material(self) -> list[Path]:
        """The files that decide a grade, sorted: checks, source, release, and what lies in
        ``graders/`` and belongs to no assignment, for all of them."""
        top, assignments = self.course.graders, set(_folders(self.course.root / "source"))
        shared = (one for one in _files(top) if one.relative_to(top).parts[0] not in assignments)
        files = {*_files(self.graders), *shared, *_files(self.source), *_files(self.release)}
        return sorted(files - {self.record})

    def digest(self) -> str:
        """SHA-256 of all that decides a grade."""
        total = hashlib.sha256()
        for path in self.material:
            total.update(str(path.relative_to(self.course.root)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()


def make_private(folder: Path) -> Path:
    """`folder`, made if need be, which nobody else can enter."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def _read(path: Path) -> list[Cell]:
    try:
        return read_notebook(path.read_bytes())
    except NotebookUnreadable as error:
        raise AssignmentError(f"{path.parent.name}/{path.name}: {error}") from error


def _folders(path: Path) -> list[str]:
    return [one.name for one in path.iterdir() if one.is_dir()] if path.is_dir() else []


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(
            part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts
        )
        if path.is_file() and not hidden:
            yield path


def _is_module_name(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def _is_folder_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name
