"""The settings in an assignment's ``assignment.toml``: limits, the fork server, students' files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec

from nbmark.errors import AssignmentError, unknown
from nbmark.limits import Limits

ModuleName = Annotated[str, msgspec.Meta(pattern=r"\A[^\W\d]\w*(\.[^\W\d]\w*)*\Z")]
# A setting's `description` is the wording of the error about a value of another kind.
ModuleNames = Annotated[
    list[ModuleName], msgspec.Meta(description='a list of module names, as in ["scipy.optimize"]')
]
FilePatterns = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1)]],
    msgspec.Meta(description='a list of file names or patterns, as in ["*.csv", "helpers.py"]'),
]
Switch = Annotated[bool, msgspec.Meta(description="true or false")]


@dataclass(frozen=True)
class ForkServerSettings:
    """The table ``[fork_server]``.

    Parameters
    ----------
    imports
        Modules that the server imports beside those that the source notebooks import.
    use
        Whether there is a fork server at all.
    """

    imports: ModuleNames = field(default_factory=list)
    use: Switch = True


@dataclass(frozen=True)
class FilesSettings:
    """The table ``[files]``.

    Parameters
    ----------
    students
        Patterns for the files of a student that lie beside the notebook when it is graded; they
        match the whole path below the submission's folder, as in `fnmatch`.
    """

    students: FilePatterns = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """One field for each table of the file, with defaults for settings that it lacks."""

    limits: Limits
    fork_server: ForkServerSettings
    files: FilesSettings


TABLES: dict[str, Any] = {
    "limits": Limits,
    "fork_server": ForkServerSettings,
    "files": FilesSettings,
}


def read_settings(path: Path, where: str) -> Settings:
    """Return the settings in a file, the defaults if it does not exist.

    Parameters
    ----------
    where
        The path as messages show it.

    Raises
    ------
    UsageError
        If a table or a setting does not exist; the message names the nearest one that does.
    AssignmentError
        If the file is not TOML in UTF-8, or a value is of the wrong kind.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode()) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssignmentError(f"{where} is not TOML in UTF-8: {error}") from error
    for name, values in tables.items():
        if name not in TABLES:
            raise unknown("table", name, where, TABLES)
        if not isinstance(values, dict):
            raise AssignmentError(f"{where}: '{name}' must be a table, as in [{name}]")
    return Settings(**{name: _table(name, tables.get(name, {}), where) for name in TABLES})


def _table(table: str, values: dict[str, Any], where: str) -> Any:
    types = get_type_hints(TABLES[table], include_extras=True)
    for name, value in values.items():
        if name not in types:
            raise unknown(f"setting of [{table}]", name, where, types)
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError:
            (meta,) = types[name].__metadata__
            raise AssignmentError(
                f"{where}: {name} = {value!r}; this setting takes {meta.description}"
            ) from None
    # msgspec.convert would leave the defaults on the class, where `vars` does not find them.
    return TABLES[table](**values)
