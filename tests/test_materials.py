"""What travels to other machines: an assignment's material, and what is kept of it there."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from nbmark.course.course import Course, course
from nbmark.errors import AssignmentError, InfrastructureError
from nbmark.workers.dask.material import MaterialCache, MaterialMissing, packed, unpack


def archive(*entries: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        for entry in entries:
            file.addfile(entry, io.BytesIO(b"x" * entry.size))
    return data.getvalue()


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in {"size": 1, **fields}.items():
        setattr(made, field, value)
    return made


def test_equal_material_gives_equal_bytes_and_means_the_same_there(toy_course, tmp_path):
    assignment = Course(toy_course).assignment("toy")
    first = packed(assignment)
    cache = toy_course / "graders" / "toy" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "left.pyc").write_bytes(b"left")
    (toy_course / "graders" / "toy" / "test_toy.py").touch()
    assert packed(assignment) == first
    there = tmp_path / "there"
    unpack(first, there)
    assert Course(there).assignment("toy").digest() == assignment.digest()
    assert b"gradebook" not in gzip.decompress(first)
    assert not list(there.rglob("*.pyc"))
    assert not (there / ".nbmark").exists()


def test_what_lies_in_graders_and_belongs_to_no_assignment_counts_for_all(toy_course, tmp_path):
    before = Course(toy_course).assignment("toy").digest()
    other = toy_course / "graders" / "other"
    (toy_course / "source" / "other").mkdir()
    other.mkdir()
    (other / "test_other.py").write_text("")
    assert Course(toy_course).assignment("toy").digest() == before
    (toy_course / "graders" / "tables").mkdir()
    (toy_course / "graders" / "tables" / "data.csv").write_text("1")
    assignment = Course(toy_course).assignment("toy")
    assert assignment.digest() != before
    unpack(packed(assignment), tmp_path / "there")
    assert (tmp_path / "there" / "graders" / "tables" / "data.csv").read_text() == "1"
    assert not (tmp_path / "there" / "graders" / "other").exists()


def test_files_that_no_sandbox_takes_are_refused_by_name(toy_course, monkeypatch):
    (toy_course / "source" / "toy" / "data.csv").write_bytes(bytes(3 << 20))
    assert len(Course(toy_course).assignment("toy").files["data.csv"]) == 3 << 20
    monkeypatch.setattr(course, "MAX_FILES_BYTES", 1 << 20)
    with pytest.raises(AssignmentError, match="source/toy: the files .* have 3 MiB; .* may have 1"):
        _ = Course(toy_course).assignment("toy").files


@pytest.mark.parametrize(
    "bad",
    [
        entry("/tmp/elsewhere"),
        entry("graders/../../elsewhere"),
        entry("graders/link", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
        entry("graders/hard", type=tarfile.LNKTYPE, linkname="graders/x", size=0),
        entry("graders/pipe", type=tarfile.FIFOTYPE, size=0),
        entry("graders/device", type=tarfile.CHRTYPE, size=0),
    ],
    ids=["absolute", "above", "link", "hard-link", "pipe", "device"],
)
def test_only_regular_files_inside_are_unpacked(tmp_path, bad):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InfrastructureError, match="of a bad kind"):
        unpack(archive(bad), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not any(path.is_file() or path.is_symlink() for path in folder.rglob("*"))


def test_the_shelf_keeps_two_materials_and_what_is_in_use(toy_course, tmp_path):
    data = packed(Course(toy_course).assignment("toy"))
    home = tmp_path / "home"
    home.mkdir()

    def folders() -> set[Path]:
        return set(home.iterdir())

    with closing(MaterialCache()) as shelf, ExitStack() as busy:
        with (
            pytest.raises(MaterialMissing),
            shelf.checks("1", b"", "toy", "bubblewrap", str(home), 2),
        ):
            pass
        first = busy.enter_context(shelf.checks("1", data, "toy", "bubblewrap", str(home), 2))
        second = busy.enter_context(shelf.checks("1", b"", "toy", "bubblewrap", str(home), 2))
        assert first is second
        assert [check.name for check in first.list_checks()] == ["test_a", "test_f"]
        (folder,) = folders()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for key in ("2", "3", "4"):
            with shelf.checks(key, data, "toy", "bubblewrap", str(home), 2):
                pass
        assert folder in folders()  # two threads are at it
        busy.close()
        with shelf.checks("1", b"", "toy", "bubblewrap", str(home), 2) as again:
            assert again is first
        with shelf.checks("5", data, "toy", "bubblewrap", str(home), 2):
            pass
        assert len(folders()) == 2
        assert folder in folders()
    assert folders() == set()
