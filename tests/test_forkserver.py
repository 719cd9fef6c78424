"""What a fork server's children share, which is nothing but what was imported."""

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
from helpers import RIGHT, SMALL, ask, hand_in_toy, said
from nbmark.checks.questions import name
from nbmark.errors import ServerLost
from nbmark.limits import Limits
from nbmark.sandbox import walls
from nbmark.sandbox.processes import Tree
from nbmark.sandbox.supply import SessionSource


def end_server(supply: SessionSource) -> None:
    """Kill a supply's server, and wait until all that dies with it is gone."""
    processes = Tree(supply._server._program.process.pid).processes()
    supply._server._program.close()
    psutil.wait_procs(processes, 10)


@pytest.fixture(scope="module")
def tensorflow_server() -> Iterator[SessionSource]:
    limits = Limits(memory_mib=4096, processes=512, disk_mib=64, question_timeout_s=20)
    with closing(SessionSource("bubblewrap", limits, ["tensorflow", "tensorflow.keras"])) as supply:
        yield supply


DRAWS = {
    "tensorflow": "tf.random.uniform([])",
    "tensorflow's generator": "tf.random.get_global_generator().uniform([])",
    "keras": "tf.keras.random.uniform([])",
}


@pytest.mark.parametrize("how", DRAWS)
def test_asking_leaves_tensorflows_random_numbers_as_they_were(how, tensorflow_server):
    found = []
    for asks in (False, True):
        with closing(tensorflow_server.open()) as session:
            code = f"""
import tensorflow as tf
tf.keras.utils.set_random_seed(1)
tf.random.set_global_generator(tf.random.Generator.from_seed(1))
def draw():
    return float({DRAWS[how]})
first = draw()"""
            assert session.run_cell(code, 60).status == "ok"
            if asks:
                assert "ok" in ask(session, name("draw")())
            found.append(said(session, "print(first, draw())"))
    assert found[0] == found[1]


def test_children_of_one_server_draw_other_random_numbers(tensorflow_server):
    code = """
import random
import numpy as np
import tensorflow as tf
print(random.random(), np.random.rand(), float(tf.random.uniform([])), float(tf.keras.random.uniform([])))"""
    with closing(tensorflow_server.open()) as session:
        first = said(session, code).splitlines()[-1].split()
    with closing(tensorflow_server.open()) as session:
        second = said(session, code).splitlines()[-1].split()
    assert len(first) == len(second) == 4
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_what_the_server_rehearsed_leaves_no_trace():
    code = """
import random, sys
from matplotlib import pyplot
print(sorted(one for one in globals() if not one.startswith('_')), _, __, len(In), len(Out),
      [one for one in ('last_type', 'last_value', 'last_traceback') if hasattr(sys, one)],
      pyplot.get_fignums(), pyplot.figure().number, 'figure' in dir())"""
    found = []
    for imports in (None, ["numpy", "matplotlib.pyplot"]):
        with (
            closing(SessionSource("bubblewrap", SMALL, imports)) as supply,
            closing(supply.open()) as session,
        ):
            done = session.run_cell(code, 30)
            found.append((done.execution_count, [one.get("text") for one in done.outputs]))
            assert said(session, "import debugpy; print(debugpy.__name__)") == "debugpy"
    assert found[0] == found[1]
    assert found[0][0] == 1


def test_a_child_shares_no_memory_descriptor_or_file_with_the_server():
    code = """
import os
shared = [line for line in open('/proc/self/maps') if line.split()[1].endswith('s') and 'w' in line.split()[1]]
inherited = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(4, 64) if os.path.exists(f'/proc/self/fd/{fd}')]
print(shared, [one for one in inherited if not any(word in one for word in ('eventpoll', 'socket', 'null'))])
open('/tmp/left', 'w').write('x'); open('/work/left', 'w').write('x'); open('/dev/shm/left', 'w').write('x')"""
    with closing(SessionSource("bubblewrap", SMALL, ["numpy", "matplotlib.pyplot"])) as supply:
        for _ in range(2):
            with closing(supply.open()) as session:
                assert (
                    said(
                        session,
                        "import os; print(os.listdir('/work'), os.listdir('/dev/shm'), "
                        "os.path.exists('/tmp/left'))",
                    )
                    == "[] [] False"
                )
                assert said(session, code) == "[] []"


@pytest.fixture
def library_with_a_thread() -> Iterator[str]:
    path = Path(sysconfig.get_path("purelib"), "nbmark_test_thread.py")
    path.write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    yield path.stem
    path.unlink()


def test_a_library_that_leaves_threads_behind_is_not_forked_and_that_is_said_once(
    library_with_a_thread, toy_course
):
    settings = toy_course / "graders" / "toy" / "assignment.toml"
    settings.write_text(f'[fork_server]\nimports = ["{library_with_a_thread}"]\n')
    assert run(toy_course, "nbmark", "verify", "toy").returncode == 0
    for student in ("ada", "ben", "cleo", "dina"):
        hand_in_toy(toy_course, student, RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["students"]
    assert [(row["points"], row["sandbox"]) for row in rows] == [(3, "bubblewrap")] * 4
    (line,) = [one for one in done.stderr.splitlines() if "no fork server" in one]
    assert line.startswith(
        "nbmark: toy: no fork server: threads that are alive after the imports: 1; "
        "every submission starts a process of its own"
    )


@pytest.mark.parametrize(
    ("text", "wall"),
    [("raise SystemExit(3)", "bubblewrap, forked"), ("import os; os._exit(3)", "bubblewrap")],
)
def test_a_library_that_ends_whoever_imports_it_stops_nobody_who_does_not(text, wall):
    path = Path(sysconfig.get_path("purelib"), "nbmark_test_end.py")
    path.write_text(text)
    try:
        with closing(SessionSource("bubblewrap", SMALL, [path.stem])) as supply:
            with closing(supply.open()) as session:
                assert said(session, "print(1)") == "1"
            assert supply.wall == wall
            assert bool(supply.not_forked_because) == (wall == "bubblewrap")
    finally:
        path.unlink()


@pytest.fixture
def package_with_a_broken_library() -> Iterator[str]:
    folder = Path(sysconfig.get_path("purelib"), "nbmark_test_package")
    folder.mkdir()
    (folder / "__init__.py").write_text("it_is = 'there'\n")
    (folder / "libbroken.so.2").write_bytes(b"no library")
    yield folder.name
    shutil.rmtree(folder)


def test_a_library_that_cannot_be_opened_ahead_stops_nobody(package_with_a_broken_library):
    missing = "no.such.module"
    supply = SessionSource("bubblewrap", SMALL, [missing, package_with_a_broken_library])
    with closing(supply), closing(supply.open()) as session:
        code = f"import sys; print(sys.modules[{package_with_a_broken_library!r}].it_is)"
        assert said(session, code) == "there"
        assert supply.wall == "bubblewrap, forked"


def test_a_child_that_is_asked_for_ahead_is_like_any_other():
    with closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply:
        for number in range(3):
            with closing(supply.open()) as session:
                code = "import os; print(os.listdir('/work')); open('/work/left', 'w').close()"
                assert (number, said(session, code)) == (number, "[]")
            supply.ask_ahead()
            supply.ask_ahead()  # asks for no second one
        end_server(supply)
        with closing(supply.open()) as session:
            assert said(session, "print(2)") == "2"


def test_a_server_that_ends_at_work_is_nobodys_fault():
    with (
        closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply,
        closing(supply.open()) as session,
    ):
        assert said(session, "print(1)") == "1"
        end_server(supply)
        with pytest.raises(ServerLost, match="ended while this submission ran"):
            session.run_cell("import time; time.sleep(5)", 10)


def test_a_class_is_graded_though_its_server_is_killed(toy_course):
    hand_in_toy(toy_course, "ada", "import time\ntime.sleep(4)\n" + RIGHT)
    with subprocess.Popen(
        [BIN / "nbmark", "grade", "toy", "--json"],
        cwd=toy_course,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as grading:
        deadline = time.monotonic() + 60
        while len(found := _servers(grading.pid)) < 4:  # itself, a worker, a driver, its kernel
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        found[0].kill()
        rows = json.loads(grading.communicate()[0])["students"]
    assert grading.returncode == 0
    assert rows[0]["points"] == 3
    assert rows[0]["sandbox"] == "bubblewrap, forked"


def _servers(pid: int) -> list[psutil.Process]:
    """The processes of a grading's fork server, the server first."""
    found = []
    for one in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if (one.cmdline()[:1], one.cmdline()[-1:]) == (["/opt/python/bin/python"], ["server"]):
                found.append(one)
    return found


def test_a_server_that_was_killed_is_replaced():
    with closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply:
        with closing(supply.open()) as session:
            assert said(session, "print(1)") == "1"
        end_server(supply)
        with closing(supply.open()) as session:
            assert said(session, "print(2)") == "2"


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP", "SIGINT", "SIGTERM"])
def test_a_signal_to_its_own_group_reaches_no_other_child(number):
    with closing(walls.start_fork_server("bubblewrap", SMALL, ["numpy"])) as server:
        workers = [walls.fork_worker("bubblewrap", SMALL, server.new_worker()) for _ in range(2)]
        with closing(workers[0].open()) as one, closing(workers[1].open()) as other:
            assert said(other, "a = 1; print(a)") == "1"
            one.run_cell(f"import os, signal; os.kill(0, signal.{number})", 1)
            assert said(other, "print(a)") == "1"
        for worker in workers:
            with closing(worker), closing(worker.open()) as again:
                assert said(again, "print(2)") == "2"


def test_an_interrupt_of_the_driver_is_not_heard():
    with (
        closing(SessionSource("bubblewrap", SMALL, ["numpy"])) as supply,
        closing(supply.open()) as session,
    ):
        assert said(session, "import os, signal; os.kill(1, signal.SIGINT); print(1)") == "1"
        assert said(session, "print(2)") == "2"
