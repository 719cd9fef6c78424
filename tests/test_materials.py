"""An assignment's material travels to other machines unchanged, and is unpacked safely there."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from nbmark.course import course
from nbmark.course.course import Course
from nbmark.errors import AssignmentError, InfrastructureError
from nbmark.workers.dask.material import MaterialCache, MaterialMissing, packed, unpack


def archive(*entries: tarfile.TarInfo) -> bytes:
    """Return a compressed archive; the content of each entry is as long as the entry says."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        for entry in entries:
            file.addfile(entry, io.BytesIO(b"x" * entry.size))
    return data.getvalue()


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    """Return the header of an archive member: by default a regular file of one byte."""
    header = tarfile.TarInfo(name)
    for field, value in {"size": 1, **fields}.items():
        setattr(header, field, value)
    return header


def test_equal_material_gives_equal_bytes_and_the_same_digest_after_unpacking(toy_course, tmp_path):
    assignment = Course(toy_course).assignment("toy")
    first = packed(assignment)
    cache = toy_course / "graders" / "toy" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "old.pyc").write_bytes(b"old")
    (toy_course / "graders" / "toy" / "test_toy.py").touch()
    assert packed(assignment) == first
    unpacked = tmp_path / "unpacked"
    unpack(first, unpacked)
    assert Course(unpacked).assignment("toy").digest == assignment.digest
    assert b"gradebook" not in gzip.decompress(first)
    assert not list(unpacked.rglob("*.pyc"))
    assert not (unpacked / ".nbmark").exists()


def test_a_file_in_graders_that_belongs_to_no_assignment_counts_for_all(toy_course, tmp_path):
    before = Course(toy_course).assignment("toy").digest
    other = toy_course / "graders" / "other"
    (toy_course / "source" / "other").mkdir()
    other.mkdir()
    (other / "test_other.py").write_text("")
    assert Course(toy_course).assignment("toy").digest == before
    (toy_course / "graders" / "tables").mkdir()
    (toy_course / "graders" / "tables" / "data.csv").write_text("1")
    assignment = Course(toy_course).assignment("toy")
    assert assignment.digest != before
    graders = tmp_path / "unpacked" / "graders"
    unpack(packed(assignment), tmp_path / "unpacked")
    assert (graders / "tables" / "data.csv").read_text() == "1"
    assert not (graders / "other").exists()


def test_files_too_large_for_a_sandbox_are_refused_with_their_folder(toy_course, monkeypatch):
    (toy_course / "source" / "toy" / "data.csv").write_bytes(bytes(3 << 20))
    assert len(Course(toy_course).assignment("toy").files["data.csv"]) == 3 << 20
    monkeypatch.setattr(course, "MAX_FILES_BYTES", 1 << 20)
    with pytest.raises(AssignmentError, match="source/toy: the files .* have 3 MiB; .* may have 1"):
        _ = Course(toy_course).assignment("toy").files


@pytest.mark.parametrize(
    "header",
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
def test_only_regular_files_inside_the_folder_are_unpacked(tmp_path, header):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InfrastructureError, match="that is not a plain file"):
        unpack(archive(header), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not any(path.is_file() or path.is_symlink() for path in folder.rglob("*"))


def test_the_cache_keeps_two_materials_and_any_in_use(toy_course, tmp_path):
    data = packed(Course(toy_course).assignment("toy"))
    home = tmp_path / "home"
    home.mkdir()

    def folders() -> set[Path]:
        return set(home.iterdir())

    with closing(MaterialCache()) as cache, ExitStack() as busy:
        with (
            pytest.raises(MaterialMissing),
            cache.checks("1", b"", "toy", "bubblewrap", str(home), 2),
        ):
            pass
        first = busy.enter_context(cache.checks("1", data, "toy", "bubblewrap", str(home), 2))
        second = busy.enter_context(cache.checks("1", b"", "toy", "bubblewrap", str(home), 2))
        assert first is second
        assert [check.name for check in first.list_checks()] == ["test_a", "test_f"]
        (folder,) = folders()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for key in ("2", "3", "4"):
            with cache.checks(key, data, "toy", "bubblewrap", str(home), 2):
                pass
        assert folder in folders()  # two threads still use it
        busy.close()
        with cache.checks("1", b"", "toy", "bubblewrap", str(home), 2) as again:
            assert again is first
        with cache.checks("5", data, "toy", "bubblewrap", str(home), 2):
            pass
        assert len(folders()) == 2
        assert folder in folders()
    assert folders() == set()
