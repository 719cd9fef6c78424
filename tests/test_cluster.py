"""Grading on a real Dask cluster, its scheduler and its workers processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from conftest import BIN, ROOT, run
from dask_cluster import Dask, wait_until
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.workers.dask.cluster import Cluster
from nbmark.workers.dask.connection import Connection

CANARY = "nbmark-canary-" + "0123456789abcdef" * 2
# The worker is the parent of the process in which a hidden check runs.
CHECKS = f"""
import os, signal
CANARY = "{CANARY}"

@check("a", points=1, title="a is right")
def test_a(student):
    if student.number("a").value == 666:
        os.kill(os.getppid(), signal.SIGKILL)
    student.number("a").matches(3.0, mistakes=[(4, "One too many.")])

"""
SPY = """
import os, re
pattern, found = re.compile(rb"nbmark-canary-[0-9a-f]{32}"), []
for folder, folders, names in os.walk("/"):
    if folder.startswith(("/proc/sys", "/sys", "/usr", "/opt/python")):
        folders.clear()
        continue
    for name in names:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and name not in ("kmsg", "kcore"):
                with open(path, "rb") as file:
                    if pattern.search(file.read(1 << 22)):
                        found.append(path)
        except OSError:
            pass
print("spy found:", found, "graders" in str(list(os.walk("/tmp"))))
"""
KILLS = RIGHT.replace("3.0", "666")
SLOW = "import time\ntime.sleep({})\n" + RIGHT


@pytest.fixture(scope="module")
def template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest course with checks that hold a canary and can be made to kill."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("cluster") / "course"))
    checks = course / "graders" / "toy" / "test_toy.py"
    text = checks.read_text()
    begin, end = text.index("@check"), text.index("@check", text.index("@check") + 1)
    checks.write_text(text[:begin] + CHECKS.lstrip() + text[end:])
    material = Course(course).assignment("toy")  # nothing that changes how it judges its answers
    record = json.loads(material.record.read_text())
    material.record.write_text(json.dumps({**record, "digest": material.digest()}))
    return course


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "course"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """Two workers that end and come back as the tests want it."""
    dask = Dask(tmp_path_factory.mktemp("dask") / "here")
    dask.workers()
    yield dask
    dask.close()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Dask]:
    """A cluster for one test, which may break it; it has no workers yet."""
    dask = Dask(tmp_path / "dask")
    yield dask
    dask.close()


def grading(course: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "nbmark", "grade", "toy", *options],
        cwd=course,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background hands on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def complaints(said: str) -> list[str]:
    """The lines that are no progress."""
    return [line for line in said.splitlines() if not re.match(r"toy: \d+ (of|sub)", line)]


def test_two_workers_leave_the_gradebook_that_this_machine_leaves(course, cluster, tmp_path):
    answers = {"ada": RIGHT, "ben": HALF, "cleo": "raise SystemExit", "emil": SPY + RIGHT}
    for student, answer in answers.items():
        hand_in_toy(course, student, answer)
    hand_in_toy(course, "dina", RIGHT)
    (course / "submitted" / "dina" / "toy" / "toy.ipynb").write_text("{")
    here = Path(shutil.copytree(course, tmp_path / "here"))
    there = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert there.returncode == 0, there.stderr
    assert complaints(there.stderr) == []
    assert run(here, "nbmark", "grade", "toy").returncode == 0
    assert dump(course, "toy") == dump(here, "toy")
    for student in (*answers, "dina"):
        name = f"autograded/{student}/toy/toy.ipynb"
        assert (course / name).read_text() == (here / name).read_text()
    assert "0 submissions to grade" in run(course, "nbmark", "grade", "toy").stderr


def test_a_students_cell_finds_nothing_of_the_checks_on_a_worker(course, cluster):
    hand_in_toy(course, "spy", SPY + RIGHT)
    done = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert done.returncode == 0, done.stderr
    text = (course / "autograded" / "spy" / "toy" / "toy.ipynb").read_text()
    assert "spy found: [] False" in text
    folders = cluster.materials()  # while it looked, the checks lay in one of these
    assert any(CANARY in (one / "graders/toy/test_toy.py").read_text() for one in folders)
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o700 for one in folders)
    assert not any(one.is_relative_to(place) for one in folders for place in ("/usr", sys.prefix))


def test_a_worker_that_is_killed_in_mid_task_costs_nothing(course, cluster):
    for number in range(4):
        hand_in_toy(course, f"s{number}", SLOW.format(2))
    process = grading(course, "--json", *cluster.options())
    killed = wait_until(cluster.at_work)[0]
    os.kill(killed, signal.SIGKILL)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert complaints(stderr) == []
    assert [row["points"] for row in json.loads(stdout)["students"]] == [3, 3, 3, 3]


def test_a_submission_that_keeps_killing_its_worker_is_set_aside(course, cluster):
    for number in range(6):
        hand_in_toy(course, f"s{number}", RIGHT)
    hand_in_toy(course, "s2-kills", KILLS)
    done = run(course, "nbmark", "grade", "toy", "--json", *cluster.options())
    assert done.returncode == 1
    assert complaints(done.stderr) == []
    rows = {row["student"]: row for row in json.loads(done.stdout)["students"]}
    killer = rows.pop("s2-kills")
    assert killer["outcome"] == "not graded"
    assert "ended its worker process 3 times and was set aside" in str(killer)
    assert [row["points"] for row in rows.values()] == [3] * 6
    assert not (course / "autograded" / "s2-kills").exists()
    hand_in_toy(course, "s2-kills", RIGHT)
    assert run(course, "nbmark", "grade", "toy", *cluster.options()).returncode == 0


def test_an_interrupt_takes_back_what_is_under_way(course, cluster):
    for number in range(8):
        hand_in_toy(course, f"s{number}", SLOW.format(3))
    process = grading(course, *cluster.options())
    wait_until(cluster.at_work)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    stderr = process.communicate()[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert complaints(stderr)[-1:] == [
        "nbmark: stopped; what is written is complete, run it again for the rest"
    ]
    assert "Traceback" not in stderr
    for number in range(8):
        hand_in_toy(course, f"s{number}", RIGHT)
    done = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert done.returncode == 0, done.stderr
    assert [row["score"] for row in dump(course, "toy")] == [3] * 8


def test_a_scheduler_that_dies_is_said_in_one_line_and_a_second_run_does_the_rest(
    course, own_cluster
):
    own_cluster.workers(1)
    for number in range(3):
        hand_in_toy(course, f"s{number}", SLOW.format(2))
    process = grading(course, *own_cluster.options())
    wait_until(lambda: list((course / "autograded").glob("s*")))
    own_cluster.scheduler.kill()
    stderr = process.communicate()[1]
    assert process.returncode == 1
    assert complaints(stderr) == [
        f"nbmark: the scheduler {own_cluster.address} is gone; what is written is complete, run "
        "it again for the rest"
    ]
    assert len(dump(course, "toy")) < 3
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    assert [row["score"] for row in dump(course, "toy")] == [3] * 3


def test_workers_leave_nothing_on_their_disks(course, own_cluster):
    worker = own_cluster.workers(1)
    hand_in_toy(course, "ada", RIGHT)
    assert run(course, "nbmark", "grade", "toy", *own_cluster.options()).returncode == 0
    assert own_cluster.materials()
    processes = psutil.Process(worker.pid).children(recursive=True)
    assert len(processes) > 3  # the worker, its check process, the fork server and its wall
    worker.terminate()
    worker.wait(20)
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    left = [one for one in own_cluster.folder.glob("local/**/*") if one.suffix != ".lock"]
    assert [one.name for one in left] == ["dask-scratch-space"]


def test_a_cluster_without_workers_is_said_in_one_line(course, own_cluster):
    hand_in_toy(course, "ada", RIGHT)
    done = run(course, "nbmark", "grade", "toy", "--patience", "1", *own_cluster.options())
    assert done.returncode == 1
    assert complaints(done.stderr) == [
        f"nbmark: the cluster at {own_cluster.address} has had no worker for 1 s; start workers, "
        "or wait longer with --patience"
    ]


def test_whoever_waits_for_workers_is_told_once(course, own_cluster, monkeypatch, capfd):
    monkeypatch.setattr("nbmark.workers.dask.cluster.QUIET_S", 0.2)
    connection = Connection(own_cluster.address, None, 1)
    cluster = Cluster(Course(course).assignment("toy"), "bubblewrap", connection)
    with closing(cluster), pytest.raises(InfrastructureError, match="has had no worker for 1 s"):
        cluster.start()
    said = f"nbmark: no worker at {own_cluster.address}; waiting up to 1 s\n"
    assert capfd.readouterr().err == said


def test_nobody_at_the_address_is_said_in_one_line(course):
    done = run(course, "nbmark", "grade", "toy", "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 1
    (line,) = complaints(done.stderr)
    assert line.startswith("nbmark: no scheduler can be reached at tcp://127.0.0.1:1 (")


def test_workers_with_other_versions_are_refused_by_name(course, own_cluster):
    own_cluster.workers(1)
    hand_in_toy(course, "ada", RIGHT)
    other = course / "other" / "sitecustomize.py"
    other.parent.mkdir()
    other.write_text(
        "import importlib.metadata as m\nreal = m.version\n"
        "m.version = lambda name: '1.0' if name == 'numpy' else real(name)\n"
    )
    done = run(
        course, "nbmark", "grade", "toy", *own_cluster.options(), PYTHONPATH=str(other.parent)
    )
    assert done.returncode == 1
    (line,) = complaints(done.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: numpy [\d.]+ \(here 1.0\)$", line)
    assert dump(course, "toy") == []


def test_a_worker_without_a_wall_is_refused_by_name(course, own_cluster):
    own_cluster.workers(1, PATH="/nowhere")
    hand_in_toy(course, "ada", RIGHT)
    done = run(course, "nbmark", "grade", "toy", *own_cluster.options())
    assert done.returncode == 1
    (line,) = complaints(done.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: bubblewrap is not installed", line)


def test_a_worker_whose_machine_forbids_namespaces_is_refused_by_name(course, own_cluster):
    own_cluster.workers(1, before=[sys.executable, str(ROOT / "tests" / "without_namespaces.py")])
    hand_in_toy(course, "ada", RIGHT)
    done = run(course, "nbmark", "grade", "toy", *own_cluster.options())
    assert done.returncode == 1
    (line,) = complaints(done.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: the sandbox did not start \(", line)


def test_workers_that_leave_before_the_first_task_are_not_waited_for_without_end(
    course, own_cluster
):
    workers = own_cluster.workers(1)

    class Unlucky(Cluster):
        async def _examined(self, found):
            fit = await super()._examined(found)
            os.killpg(workers.pid, signal.SIGKILL)
            return fit

    connection = Connection(own_cluster.address, None, 1)
    cluster = Unlucky(Course(course).assignment("toy"), "bubblewrap", connection)
    with closing(cluster), pytest.raises(InfrastructureError, match="has had no worker for 1 s"):
        cluster.start()


def test_a_worker_that_would_be_reached_without_encryption_is_refused(course):
    connection = Connection("tcp://127.0.0.1:1", None, 1)
    cluster = Cluster(Course(course).assignment("toy"), "bubblewrap", connection)
    with pytest.raises(InfrastructureError, match=r"tcp://192\.0\.2\.1:5 is reached without TLS"):
        asyncio.run(cluster._examined(["tcp://127.0.0.1:4", "tcp://192.0.2.1:5"]))


@pytest.mark.parametrize(
    "address",
    ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "tcp://127.0.0.1.example:1", "ucx://127.0.0.1:1"],
)
def test_an_address_that_is_not_encrypted_is_refused_before_anything_is_sent(course, address):
    for words in (["toy"], ["--all"]):
        done = run(course, "nbmark", "grade", *words, "--scheduler", address)
        assert done.returncode == 2
        (line,) = complaints(done.stderr)
        assert line.startswith(f"nbmark: --scheduler {address} is not encrypted: ")
        assert line.endswith(f"and give tls://{address.rpartition('://')[2]}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scheduler", "tls://192.0.2.1:8786"], "needs certificates: give --tls-ca"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "--workers is for this machine"),
        (["--scheduler", "tls://h:1", "--tls-ca", "nbgrader_config.py"], "give all three"),
        (["--tls-ca", "nbgrader_config.py"], "go with --scheduler"),
        (["--patience", "5"], "--patience is for the workers of a --scheduler"),
        (["--scheduler", "tcp://localhost"], "missing port number"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_options_that_do_not_fit_are_said_in_one_line(course, words, says):
    done = run(course, "nbmark", "grade", "toy", *words)
    assert done.returncode == 2
    (line,) = complaints(done.stderr)
    assert says in line


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, and a certificate that it has signed."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for command in (
        ["-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"],
        [
            "-x509",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            *key,
            "-keyout",
            "own.key",
            "-out",
            "own.pem",
            "-subj",
            "/CN=own",
            "-addext",
            "basicConstraints=CA:FALSE",
        ],
    ):
        subprocess.run(["openssl", "req", *command], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_way_to_the_workers_can_be_encrypted(course, certificates, tmp_path):
    cluster = Dask(tmp_path / "dask", tls=certificates)
    try:
        cluster.workers(1, threads=2)
        for student in ("ada", "ben", "cleo"):
            hand_in_toy(course, student, RIGHT)
        assert cluster.address.startswith("tls://")
        stranger = run(
            course, "nbmark", "grade", "toy", "--scheduler", cluster.address.replace("tls", "tcp")
        )
        assert stranger.returncode == 1
        assert len(complaints(stranger.stderr)) == 1
        done = run(course, "nbmark", "grade", "toy", *cluster.options())
        assert done.returncode == 0, done.stderr
        assert [row["score"] for row in dump(course, "toy")] == [3] * 3
        assert len(cluster.materials()) == 1
    finally:
        cluster.close()
