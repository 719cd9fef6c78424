"""Settings in an assignment.toml: defaults, and one clear line for whatever does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbmark.course.settings import Settings, read_settings
from nbmark.errors import AssignmentError
from nbmark.limits import Limits

WHERE = "graders/toy/assignment.toml"


def read(folder: Path, text: str) -> Settings:
    path = folder / "assignment.toml"
    path.write_text(text)
    return read_settings(path, WHERE)


def test_without_a_file_every_setting_has_its_default(tmp_path):
    settings = read_settings(tmp_path / "assignment.toml", WHERE)
    assert settings.limits == Limits()
    assert settings.fork_server.use
    assert settings.fork_server.imports == []
    assert settings.files.students == []


def test_one_limit_changes_and_the_others_keep_their_defaults(tmp_path):
    limits = read(tmp_path, "[limits]\nfiles = 7\ncpu_s = 2\n").limits
    assert vars(limits) == {**vars(Limits()), "files": 7, "cpu_s": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\nfiles = 7.0", "files = 7.0; this setting takes a whole number above 0"),
        ("[limits]\nfiles = true", "files = True; this setting takes a whole number above 0"),
        ("[limits]\ncpu_s = 0", "cpu_s = 0; this setting takes a number above 0"),
        ("[limits]\ncpu_s = inf", "cpu_s = inf; this setting takes a number above 0"),
        ("[limits]\nfile = 7", "no setting of [limits] 'file'"),
        ("[limit]\nfiles = 7", "no table 'limit'"),
        ("limits = 7", "'limits' must be a table, as in [limits]"),
        ("[fork_server]\nuse = 1", "use = 1; this setting takes true or false"),
        ("[fork_server]\nimports = 'x'", "this setting takes a list of module names"),
        ("[fork_server]\nimports = ['x y']", "this setting takes a list of module names"),
        ("[fork_server]\nimports = ['x\\n']", "this setting takes a list of module names"),
        ("[files]\nstudents = '*.csv'", "this setting takes a list of file names or patterns"),
        ("[files]\nstudents = ['']", "this setting takes a list of file names or patterns"),
        ("[files]\nstudent = []", "no setting of [files] 'student'"),
    ],
)
def test_whatever_does_not_fit_is_one_line(tmp_path, text, message):
    with pytest.raises(AssignmentError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert WHERE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_name_gets_the_nearest_right_one(tmp_path):
    with pytest.raises(AssignmentError, match="Did you mean 'memory_mib'"):
        read(tmp_path, "[limits]\nmemory_mb = 7")
