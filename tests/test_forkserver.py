"""Children of a fork server share only imported modules, and a lost server costs no grade."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from conftest import BIN, run
from helpers import RIGHT, SMALL, ask, output_of, submit_toy
from nbmark.checks.questions import name
from nbmark.errors import ServerLost
from nbmark.limits import Limits
from nbmark.sandbox import walls
from nbmark.sandbox.processes import Tree
from nbmark.sandbox.supply import SessionSource


def end_server(supply: SessionSource) -> None:
    """Kill a source's server, and wait until the processes that die with it are gone."""
    processes = Tree(supply._server._program.process.pid).processes()
    supply._server._program.close()
    psutil.wait_procs(processes, 10)


@pytest.fixture(scope="module")
def tensorflow_server() -> Iterator[SessionSource]:
    """Yield a source of sessions that are forked with TensorFlow already imported."""
    limits = Limits(memory_mib=4096, processes=512, disk_mib=64, question_timeout_s=20)
    with closing(SessionSource("bubblewrap", limits, ["tensorflow", "tensorflow.keras"])) as supply:
        yield supply


DRAWS = {
    "tensorflow": "tf.random.uniform([])",
    "tensorflow's generator": "tf.random.get_global_generator().uniform([])",
    "keras": "tf.keras.random.uniform([])",
}


@pytest.mark.parametrize("generator", DRAWS)
def test_a_question_leaves_tensorflows_random_numbers_as_they_were(generator, tensorflow_server):
    draws = []
    for with_question in (False, True):
        with closing(tensorflow_server.open()) as session:
            code = f"""
import tensorflow as tf
tf.keras.utils.set_random_seed(1)
tf.random.set_global_generator(tf.random.Generator.from_seed(1))
def draw():
    return float({DRAWS[generator]})
first = draw()"""
            assert session.run_cell(code, 60).status == "ok"
            if with_question:
                assert "ok" in ask(session, name("draw")())
            draws.append(output_of(session, "print(first, draw())"))
    assert draws[0] == draws[1]


def test_children_of_one_server_draw_different_random_numbers(tensorflow_server):
    code = """
import random
import numpy as np
import tensorflow as tf
of_tensorflow = float(tf.random.uniform([])), float(tf.keras.random.uniform([]))
print(random.random(), np.random.rand(), *of_tensorflow)"""
    with closing(tensorflow_server.open()) as session:
        first = output_of(session, code).splitlines()[-1].split()
    with closing(tensorflow_server.open()) as session:
        second = output_of(session, code).splitlines()[-1].split()
    assert len(first) == len(second) == 4
    assert all(number != other for number, other in zip(first, second, strict=True))


def test_the_servers_rehearsal_leaves_no_trace_in_its_children():
    code = """
import random, sys
from matplotlib import pyplot
print(sorted(name for name in globals() if not name.startswith('_')), _, __, len(In), len(Out),
      [name for name in ('last_type', 'last_value', 'last_traceback') if hasattr(sys, name)],
      pyplot.get_fignums(), pyplot.figure().number, 'figure' in dir())"""
    states = []
    for imports in (None, ["numpy", "matplotlib.pyplot"]):
        with (
            closing(SessionSource("bubblewrap", SMALL, imports)) as supply,
            closing(supply.open()) as session,
        ):
            cell_run = session.run_cell(code, 30)
            texts = [output.get("text") for output in cell_run.outputs]
            states.append((cell_run.execution_count, texts))
            assert output_of(session, "import debugpy; print(debugpy.__name__)") == "debugpy"
    assert states[0] == states[1]
    assert states[0][0] == 1


def test_a_child_shares_no_memory_descriptor_or_file_with_the_server():
    list_files = """
import os
print(os.listdir('/work'), os.listdir('/dev/shm'), os.path.exists('/tmp/left'))"""
    list_shared = """
def is_shared_and_writable(line):
    permissions = line.split()[1]
    return permissions.endswith('s') and 'w' in permissions
links = [f'/proc/self/fd/{fd}' for fd in range(4, 64)]
inherited = [os.readlink(link) for link in links if os.path.exists(link)]
harmless = ('eventpoll', 'socket', 'null')
print([line for line in open('/proc/self/maps') if is_shared_and_writable(line)],
      [target for target in inherited if not any(word in target for word in harmless)])
for folder in ('/tmp', '/work', '/dev/shm'):
    open(folder + '/left', 'w').write('x')"""
    with closing(SessionSource("bubblewrap", SMALL, ["numpy", "matplotlib.pyplot"])) as supply:
        for _ in range(2):
            with closing(supply.open()) as session:
                assert output_of(session, list_files) == "[] [] False"
                assert output_of(session, list_shared) == "[] []"


@pytest.fixture
def library_with_a_thread() -> Iterator[str]:
    """Install a library that starts a thread when it is imported, and yield its name."""
    path = Path(sysconfig.get_path("purelib"), "nbmark_test_thread.py")
    path.write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    yield path.stem
    path.unlink()


def test_a_library_that_leaves_threads_running_is_not_forked_and_reported_once(
    library_with_a_thread, toy_course
):
    settings = toy_course / "graders" / "toy" / "assignment.toml"
    settings.write_text(f'[fork_server]\nimports = ["{library_with_a_thread}"]\n')
    assert run(toy_course, "nbmark", "verify", "toy").returncode == 0
    for student in ("ada", "ben", "cleo", "dina"):
        submit_toy(toy_course, student, RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--workers", "2", "--json")
    assert completed.returncode == 0, completed.stderr
    rows = json.loads(completed.stdout)["students"]
    assert [(row["points"], row["sandbox"]) for row in rows] == [(3, "bubblewrap")] * 4
    (line,) = [line for line in completed.stderr.splitlines() if "no fork server" in line]
    assert line.startswith(
        "nbmark: toy: no fork server: threads still running after the imports: 1; "
        "every submission starts a process of its own"
    )


@pytest.mark.parametrize(
    ("code", "label"),
    [("raise SystemExit(3)", "bubblewrap, forked"), ("import os; os._exit(3)", "bubblewrap")],
)
def test_a_library_that_ends_its_importer_stops_no_submission_without_it(code, label):
    path = Path(sysconfig.get_path("purelib"), "nbmark_test_end.py")
    path.write_text(code)
    try:
        with closing(SessionSource("bubblewrap", SMALL, [path.stem])) as supply:
            with closing(supply.open()) as session:
                assert output_of(session, "print(1)") == "1"
            assert supply.label == label
            assert bool(supply.not_forked_because) == (label == "bubblewrap")
    finally:
        path.unlink()


@pytest.fixture
def package_with_a_broken_library() -> Iterator[str]:
    """Install a package with a shared library that cannot be opened, and yield its name."""
    folder = Path(sysconfig.get_path("purelib"), "nbmark_test_package")
    folder.mkdir()
    (folder / "__init__.py").write_text("it_is = 'there'\n")
    (folder / "libbroken.so.2").write_bytes(b"no library")
    yield folder.name
    shutil.rmtree(folder)


def test_a_missing_module_or_a_broken_library_does_not_stop_forking(package_with_a_broken_library):
    missing = "no.such.module"
    supply = SessionSource("bubblewrap", SMALL, [missing, package_with_a_broken_library])
    with closing(supply), closing(supply.open()) as session:
        code = f"import sys; print(sys.modules[{package_with_a_broken_library!r}].it_is)"
        assert output_of(session, code) == "there"
        assert supply.label == "bubblewrap, forked"


def test_a_child_that_was_forked_ahead_is_like_any_other():
    with closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply:
        for number in range(3):
            with closing(supply.open()) as session:
                code = "import os; print(os.listdir('/work')); open('/work/left', 'w').close()"
                assert (number, output_of(session, code)) == (number, "[]")
            supply.fork_ahead()
            supply.fork_ahead()  # does not fork a second child
        end_server(supply)
        with closing(supply.open()) as session:
            assert output_of(session, "print(2)") == "2"


def test_a_server_that_ends_during_a_submission_raises_an_error_of_its_own():
    with (
        closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply,
        closing(supply.open()) as session,
    ):
        assert output_of(session, "print(1)") == "1"
        end_server(supply)
        with pytest.raises(ServerLost, match="ended while this submission ran"):
            session.run_cell("import time; time.sleep(5)", 10)


def test_a_class_is_graded_even_if_its_server_is_killed(toy_course):
    submit_toy(toy_course, "ada", "import time\ntime.sleep(4)\n" + RIGHT)
    with subprocess.Popen(
        [BIN / "nbmark", "grade", "toy", "--json"],
        cwd=toy_course,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as grading:
        deadline = time.monotonic() + 60
        # The server itself, a worker, a driver and its kernel.
        while len(processes := _server_processes(grading.pid)) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)  # so that the student's cell is running
        processes[0].kill()
        rows = json.loads(grading.communicate()[0])["students"]
    assert grading.returncode == 0
    assert rows[0]["points"] == 3
    assert rows[0]["sandbox"] == "bubblewrap, forked"


def _server_processes(pid: int) -> list[psutil.Process]:
    """Return the processes of a grading's fork server, the server first."""
    processes = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # if the process has ended meanwhile
            command = process.cmdline()
            if (command[:1], command[-1:]) == (["/opt/python/bin/python"], ["server"]):
                processes.append(process)
    return processes


def test_a_server_that_was_killed_is_replaced():
    with closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply:
        with closing(supply.open()) as session:
            assert output_of(session, "print(1)") == "1"
        end_server(supply)
        with closing(supply.open()) as session:
            assert output_of(session, "print(2)") == "2"


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSTOP", "SIGINT", "SIGTERM"])
def test_a_signal_to_its_own_process_group_reaches_no_other_child(signal):
    with closing(walls.start_fork_server("bubblewrap", SMALL, ["numpy"])) as server:
        workers = [walls.fork_worker("bubblewrap", SMALL, server.new_worker()) for _ in range(2)]
        with closing(workers[0].open()) as sender, closing(workers[1].open()) as other:
            assert output_of(other, "a = 1; print(a)") == "1"
            sender.run_cell(f"import os, signal; os.kill(0, signal.{signal})", 1)
            assert output_of(other, "print(a)") == "1"
        for worker in workers:
            with closing(worker), closing(worker.open()) as next_session:
                assert output_of(next_session, "print(2)") == "2"


def test_the_driver_ignores_an_interrupt_from_inside():
    with (
        closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply,
        closing(supply.open()) as session,
    ):
        assert output_of(session, "import os, signal; os.kill(1, signal.SIGINT); print(1)") == "1"
        assert output_of(session, "print(2)") == "2"
