"""Grading on a real Dask cluster gives the same grades, and every failure one clear line.

The scheduler and the workers are processes of this machine.
"""

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
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.workers.dask.cluster import Cluster
from nbmark.workers.dask.connection import Connection
from nbmark.workers.dask.watch import fit_workers

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
KILLS_ITS_WORKER = RIGHT.replace("3.0", "666")
SLOW = "import time\ntime.sleep({})\n" + RIGHT


@pytest.fixture(scope="module")
def template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the smallest course, whose checks hold a canary and can kill their worker."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("cluster") / "course"))
    checks = course / "graders" / "toy" / "test_toy.py"
    text = checks.read_text()
    begin, end = text.index("@check"), text.index("@check", text.index("@check") + 1)
    checks.write_text(text[:begin] + CHECKS.lstrip() + text[end:])
    # The new checks give the known answers the same points, so the assignment counts as verified.
    material = Course(course).assignment("toy")
    record = json.loads(material.record.read_text())
    material.record.write_text(json.dumps({**record, "digest": material.digest}))
    return course


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "course"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """Start a cluster for all tests, with two workers that Dask restarts when they die."""
    dask = Dask(tmp_path_factory.mktemp("dask") / "here")
    dask.workers()
    yield dask
    dask.close()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Dask]:
    """Start a cluster without workers for one test, which may break it."""
    dask = Dask(tmp_path / "dask")
    yield dask
    dask.close()


def start_grading(course: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "nbmark", "grade", "toy", *options],
        cwd=course,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background makes them ignore interrupts, and their
        # children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def complaints(log: str) -> list[str]:
    """Return the lines of standard error that do not show progress."""
    return [line for line in log.splitlines() if not re.match(r"toy: \d+ (of|sub)", line)]


def let_in_own_files(course: Path) -> None:
    with (course / "graders" / "toy" / "assignment.toml").open("a") as settings:
        settings.write('\n[files]\nstudents = ["*.py"]\n')
    assert run(course, "nbmark", "verify", "toy").returncode == 0


def test_two_workers_fill_the_gradebook_as_this_machine_does(course, cluster, tmp_path):
    answers = {"ada": RIGHT, "ben": HALF, "cleo": "raise SystemExit", "emil": SPY + RIGHT}
    for student, answer in answers.items():
        submit_toy(course, student, answer)
    submit_toy(course, "dina", RIGHT)
    (course / "submitted" / "dina" / "toy" / "toy.ipynb").write_text("{")
    let_in_own_files(course)
    submit_toy(course, "fay", "from helpers import double as f\na = 3")
    (course / "submitted" / "fay" / "toy" / "helpers.py").write_text("double = lambda x: 2 * x")
    submit_toy(course, "gus", RIGHT)
    notebook = course / "submitted" / "gus" / "toy" / "toy.ipynb"
    notebook.rename(notebook.with_name("toy (1).ipynb"))
    here = Path(shutil.copytree(course, tmp_path / "here"))
    completed = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert completed.returncode == 0, completed.stderr
    assert complaints(completed.stderr) == []
    assert run(here, "nbmark", "grade", "toy").returncode == 0
    rows = dump_gradebook(course, "toy")
    assert rows == dump_gradebook(here, "toy")
    scores = {row["student"]: row["score"] for row in rows}
    assert scores["fay"] == scores["gus"] == 3
    for student in (*answers, "dina", "fay", "gus"):
        notebook = f"autograded/{student}/toy/toy.ipynb"
        assert (course / notebook).read_text() == (here / notebook).read_text()
    assert "0 submissions to grade" in run(course, "nbmark", "grade", "toy").stderr


def test_a_students_cell_finds_nothing_of_the_checks_on_a_worker(course, cluster):
    submit_toy(course, "spy", SPY + RIGHT)
    completed = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert completed.returncode == 0, completed.stderr
    text = (course / "autograded" / "spy" / "toy" / "toy.ipynb").read_text()
    assert "spy found: [] False" in text
    folders = cluster.materials()  # one of these held the checks while the cell searched
    assert any(CANARY in (folder / "graders/toy/test_toy.py").read_text() for folder in folders)
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
    for shown_in_sandbox in ("/usr", sys.prefix):
        assert not any(folder.is_relative_to(shown_in_sandbox) for folder in folders)


def test_a_worker_killed_in_the_middle_of_a_submission_costs_no_grade(course, cluster):
    for number in range(4):
        submit_toy(course, f"s{number}", SLOW.format(2))
    process = start_grading(course, "--json", *cluster.options())
    worker = wait_until(cluster.busy_workers)[0]
    os.kill(worker, signal.SIGKILL)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert complaints(stderr) == []
    assert [row["points"] for row in json.loads(stdout)["students"]] == [3, 3, 3, 3]


def test_a_submission_that_keeps_killing_its_worker_is_set_aside(course, cluster):
    for number in range(6):
        submit_toy(course, f"s{number}", RIGHT)
    submit_toy(course, "s2-kills", KILLS_ITS_WORKER)
    completed = run(course, "nbmark", "grade", "toy", "--json", *cluster.options())
    assert completed.returncode == 1
    assert complaints(completed.stderr) == []
    rows = {row["student"]: row for row in json.loads(completed.stdout)["students"]}
    killer = rows.pop("s2-kills")
    assert killer["outcome"] == "not graded"
    assert "ended its worker process 3 times and was set aside" in str(killer)
    assert [row["points"] for row in rows.values()] == [3] * 6
    assert not (course / "autograded" / "s2-kills").exists()
    submit_toy(course, "s2-kills", RIGHT)
    assert run(course, "nbmark", "grade", "toy", *cluster.options()).returncode == 0


def test_an_interrupt_cancels_the_submissions_under_way(course, cluster):
    for number in range(8):
        submit_toy(course, f"s{number}", SLOW.format(3))
    process = start_grading(course, *cluster.options())
    wait_until(cluster.busy_workers)
    process.send_signal(signal.SIGINT)
    interrupted_at_s = time.monotonic()
    stderr = process.communicate()[1]
    assert time.monotonic() - interrupted_at_s < 5
    assert process.returncode == 130
    assert complaints(stderr)[-1:] == [
        "nbmark: stopped; what is written is complete; run it again for the rest"
    ]
    assert "Traceback" not in stderr
    for number in range(8):
        submit_toy(course, f"s{number}", RIGHT)
    completed = run(course, "nbmark", "grade", "toy", *cluster.options())
    assert completed.returncode == 0, completed.stderr
    assert [row["score"] for row in dump_gradebook(course, "toy")] == [3] * 8


def test_a_dead_scheduler_is_reported_in_one_line_and_a_second_run_grades_the_rest(
    course, own_cluster
):
    own_cluster.workers(1)
    for number in range(3):
        submit_toy(course, f"s{number}", SLOW.format(2))
    process = start_grading(course, *own_cluster.options())
    wait_until(lambda: list((course / "autograded").glob("s*")))
    own_cluster.scheduler.kill()
    stderr = process.communicate()[1]
    assert process.returncode == 1
    assert complaints(stderr) == [
        f"nbmark: the scheduler {own_cluster.address} is gone; what is written is complete; run "
        "it again for the rest"
    ]
    assert len(dump_gradebook(course, "toy")) < 3
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    assert [row["score"] for row in dump_gradebook(course, "toy")] == [3] * 3


def test_workers_leave_nothing_on_their_disks(course, own_cluster):
    worker = own_cluster.workers(1)
    submit_toy(course, "ada", RIGHT)
    assert run(course, "nbmark", "grade", "toy", *own_cluster.options()).returncode == 0
    assert own_cluster.materials()
    processes = psutil.Process(worker.pid).children(recursive=True)
    assert len(processes) > 3  # the worker, its check process, the fork server and its sandbox
    worker.terminate()
    worker.wait(20)
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    leftovers = [path for path in own_cluster.folder.glob("local/**/*") if path.suffix != ".lock"]
    assert [path.name for path in leftovers] == ["dask-scratch-space"]


def test_a_cluster_without_workers_is_reported_in_one_line(course, own_cluster):
    submit_toy(course, "ada", RIGHT)
    completed = run(course, "nbmark", "grade", "toy", "--patience", "1", *own_cluster.options())
    assert completed.returncode == 1
    assert complaints(completed.stderr) == [
        f"nbmark: the cluster at {own_cluster.address} has had no worker for 1 s; start workers, "
        "or wait longer with --patience"
    ]


def test_waiting_for_workers_is_announced_once(course, own_cluster, monkeypatch, capfd):
    monkeypatch.setattr("nbmark.workers.dask.watch.QUIET_S", 0.2)
    connection = Connection(own_cluster.address, None, 1)
    cluster = Cluster(Course(course).assignment("toy"), "bubblewrap", connection)
    with closing(cluster), pytest.raises(InfrastructureError, match="has had no worker for 1 s"):
        cluster.start()
    line = f"nbmark: no worker at {own_cluster.address}; waiting up to 1 s\n"
    assert capfd.readouterr().err == line


def test_an_address_without_a_scheduler_is_reported_in_one_line(course):
    completed = run(course, "nbmark", "grade", "toy", "--scheduler", "tcp://127.0.0.1:1")
    assert completed.returncode == 1
    (line,) = complaints(completed.stderr)
    assert line.startswith("nbmark: no scheduler can be reached at tcp://127.0.0.1:1 (")


def test_workers_with_other_versions_are_refused_by_name(course, own_cluster):
    own_cluster.workers(1)
    submit_toy(course, "ada", RIGHT)
    other = course / "other" / "sitecustomize.py"
    other.parent.mkdir()
    other.write_text(
        "import importlib.metadata as m\nreal = m.version\n"
        "m.version = lambda name: '1.0' if name == 'numpy' else real(name)\n"
    )
    command = ["nbmark", "grade", "toy", *own_cluster.options()]
    completed = run(course, *command, PYTHONPATH=str(other.parent))
    assert completed.returncode == 1
    (line,) = complaints(completed.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: numpy [\d.]+ \(here 1.0\)$", line)
    assert dump_gradebook(course, "toy") == []


def test_a_worker_without_a_sandbox_is_refused_by_name(course, own_cluster):
    own_cluster.workers(1, PATH="/nowhere")
    submit_toy(course, "ada", RIGHT)
    completed = run(course, "nbmark", "grade", "toy", *own_cluster.options())
    assert completed.returncode == 1
    (line,) = complaints(completed.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: bubblewrap is not installed", line)


def test_a_worker_whose_machine_forbids_namespaces_is_refused_by_name(course, own_cluster):
    own_cluster.workers(1, before=[sys.executable, str(ROOT / "tests" / "without_namespaces.py")])
    submit_toy(course, "ada", RIGHT)
    completed = run(course, "nbmark", "grade", "toy", *own_cluster.options())
    assert completed.returncode == 1
    (line,) = complaints(completed.stderr)
    assert re.search(r"the worker tcp://\S+ is unfit: the sandbox did not start \(", line)


def test_waiting_for_workers_that_leave_before_the_first_task_has_an_end(
    course, own_cluster, monkeypatch
):
    workers = own_cluster.workers(1)

    async def examine_and_kill(*arguments):
        fit = await fit_workers(*arguments)
        os.killpg(workers.pid, signal.SIGKILL)
        return fit

    monkeypatch.setattr("nbmark.workers.dask.watch.fit_workers", examine_and_kill)
    connection = Connection(own_cluster.address, None, 1)
    cluster = Cluster(Course(course).assignment("toy"), "bubblewrap", connection)
    with closing(cluster), pytest.raises(InfrastructureError, match="has had no worker for 1 s"):
        cluster.start()


def test_a_worker_that_would_be_reached_without_encryption_is_refused():
    client = None  # the refusal comes before the first message
    workers = ["tcp://127.0.0.1:4", "tcp://192.0.2.1:5"]
    with pytest.raises(InfrastructureError, match=r"tcp://192\.0\.2\.1:5 is reached without TLS"):
        asyncio.run(fit_workers(client, "bubblewrap", workers))


@pytest.mark.parametrize(
    "address",
    ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "tcp://127.0.0.1.example:1", "ucx://127.0.0.1:1"],
)
def test_an_address_that_is_not_encrypted_is_refused_before_anything_is_sent(course, address):
    for assignment in ("toy", "--all"):
        completed = run(course, "nbmark", "grade", assignment, "--scheduler", address)
        assert completed.returncode == 2
        (line,) = complaints(completed.stderr)
        assert line.startswith(f"nbmark: --scheduler {address} is not encrypted: ")
        assert line.endswith(f"and give tls://{address.rpartition('://')[2]}")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--scheduler", "tls://192.0.2.1:8786"], "needs certificates: give --tls-ca"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "--workers is for this machine"),
        (["--scheduler", "tls://h:1", "--tls-ca", "nbgrader_config.py"], "give all three"),
        (["--tls-ca", "nbgrader_config.py"], "go with --scheduler"),
        (["--patience", "5"], "--patience is for the workers of a --scheduler"),
        (["--scheduler", "tcp://localhost"], "missing port number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unusable_options_are_refused_in_one_line(course, options, reason):
    completed = run(course, "nbmark", "grade", "toy", *options)
    assert completed.returncode == 2
    (line,) = complaints(completed.stderr)
    assert reason in line


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Make a certificate authority, and a certificate that it has signed."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    request = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-keyout {0}.key -out {0}.pem -subj /CN={0} "
    )
    signed = "-CA ca.pem -CAkey ca.key -addext basicConstraints=CA:FALSE"
    for command in (request.format("ca"), request.format("own") + signed):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def test_the_connection_to_the_workers_can_be_encrypted(course, certificates, tmp_path):
    cluster = Dask(tmp_path / "dask", tls=certificates)
    try:
        cluster.workers(1, threads=2)
        for student in ("ada", "ben", "cleo"):
            submit_toy(course, student, RIGHT)
        assert cluster.address.startswith("tls://")
        plain_address = cluster.address.replace("tls", "tcp")
        unencrypted = run(course, "nbmark", "grade", "toy", "--scheduler", plain_address)
        assert unencrypted.returncode == 1
        assert len(complaints(unencrypted.stderr)) == 1
        completed = run(course, "nbmark", "grade", "toy", *cluster.options())
        assert completed.returncode == 0, completed.stderr
        assert [row["score"] for row in dump_gradebook(course, "toy")] == [3] * 3
        assert len(cluster.materials()) == 1
    finally:
        cluster.close()
