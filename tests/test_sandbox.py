"""The sandbox limits what a student's code can reach and use, and ends what it leaves running."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from conftest import ROOT, run
from helpers import RIGHT, SMALL, as_ordinary_user, ask, dump_gradebook, output_of, submit_toy
from nbmark.checks.questions import canonical, name, tree_of
from nbmark.errors import SandboxUnavailable
from nbmark.limits import Limits
from nbmark.sandbox import bubblewrap, processes, walls
from nbmark.sandbox.processes import Tree
from nbmark.sandbox.session import Session
from nbmark.sandbox.supply import SessionSource


@pytest.fixture(params=["started", "forked"])
def open_session(request) -> Iterator[Callable[[Limits], Session]]:
    """Give a function that opens a session: once in a new process, once in a forked child."""
    with contextlib.ExitStack() as stack:

        def open_with(limits: Limits) -> Session:
            imports = ["numpy"] if request.param == "forked" else None
            supply = stack.enter_context(closing(SessionSource("bubblewrap", limits, imports)))
            session = supply.open()
            assert supply.label == ("bubblewrap, forked" if imports else "bubblewrap")
            return stack.enter_context(closing(session))

        yield open_with


@pytest.fixture
def session(open_session) -> Session:
    return open_session(SMALL)


def test_there_is_no_network(session):
    code = """
import socket
print(len(socket.if_nameindex()))
socket.create_connection(('127.0.0.1', 22))
"""
    assert output_of(session, code) in ("1", "ConnectionRefusedError")


def test_the_course_and_the_home_directory_are_not_there(session):
    graders = str(ROOT / "graders")
    code = f"""
import os
print(os.path.exists({graders!r}), os.listdir('/work'), os.path.exists('/root'))
"""
    assert output_of(session, code) == "False [] False"


def test_an_exchange_below_usr_is_hidden(monkeypatch):
    monkeypatch.setattr(bubblewrap, "HIDDEN", ["/usr/share"])
    for imports in (None, ["numpy"]):
        with (
            closing(SessionSource("bubblewrap", SMALL, imports)) as supply,
            closing(supply.open()) as session,
        ):
            assert output_of(session, "import os; print(os.listdir('/usr/share'))") == "[]"
            assert output_of(session, "open('/usr/share/x', 'w')") in ("OSError", "PermissionError")


def test_the_environment_of_the_grader_is_not_passed_on(open_session, monkeypatch):
    monkeypatch.setenv("NBMARK_TEST_SECRET", "secret")
    session = open_session(SMALL)
    assert output_of(session, "import os; print('NBMARK_TEST_SECRET' in os.environ)") == "False"


def test_the_system_is_read_only(session):
    for path in ("/x", "/usr/x", "/opt/python/x", "/dev/x", "/etc/x"):
        assert output_of(session, f"open({path!r}, 'w')") in ("OSError", "PermissionError")


def test_a_student_has_no_privileges_and_gains_none(session):
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
status = open('/proc/self/status').read()
print(os.getuid(), 'CapEff:\\t0000000000000000' in status, 'NoNewPrivs:\\t1' in status,
      'Seccomp:\\t2' in status, libc.unshare(0x10000000), libc.mount(b'a', b'/tmp', b'tmpfs', 0, 0),
      libc.ptrace(16, 1, 0, 0))
"""
    assert output_of(session, code) == "1000 True True True -1 -1 -1"


def test_a_sandbox_sees_only_its_own_processes(session):
    code = "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[-1] < 100)"
    assert output_of(session, code) == "True"


def test_the_driver_cannot_be_written_to(session):
    code = "import os\nprint(b'start.py' in open('/proc/1/cmdline', 'rb').read())"
    assert output_of(session, code) == "True"
    assert output_of(session, "os.listdir('/proc/1/fd')") == "PermissionError"


def test_the_work_directory_is_limited_in_size(session):
    assert output_of(session, "open('big', 'wb').write(b'x' * (40 << 20))") == "OSError"


PRIVATE_MEMORY = "block = bytearray(900 << 20)"
SHARED_MEMORY = """
import mmap
blocks = [mmap.mmap(-1, 50 << 20) for _ in range(30)]
for block in blocks: block.write(b'x' * (50 << 20))
"""
MEMORY_OF_CHILDREN = """
import os
for _ in range(6):
    if os.fork() == 0:
        block = bytearray(200 << 20)
        while True: pass
os.wait()
"""


@pytest.mark.parametrize("code", [PRIVATE_MEMORY, SHARED_MEMORY, MEMORY_OF_CHILDREN])
def test_memory_is_limited_however_it_is_allocated(session, code):
    cell_run = session.run_cell(code, 20)
    assert cell_run.error_name == "MemoryError" or session.ended == "memory"


def test_processes_are_limited(session):
    code = "import subprocess\nsleeps = [subprocess.Popen(['sleep', '60']) for _ in range(200)]"
    assert session.run_cell(code, 20).error_name in ("BlockingIOError", "OSError", "RuntimeError")


def test_the_watchdog_finds_the_root_process_when_proc_is_restricted(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(processes, "LISTS_CHILDREN", False)
    monkeypatch.setattr(psutil.Process, "children", refuse)
    with subprocess.Popen(["sleep", "60"]) as program:
        tree = Tree(program.pid)
        assert [process.pid for process in tree.processes()] == [program.pid]
        program.kill()
        program.wait()
        assert tree.processes() == []


@pytest.mark.parametrize(("idle_s", "cpu_s", "reason"), [(-1e6, 60, "clock"), (60, 0, "cpu")])
def test_time_that_runs_out_before_the_files_are_written_is_not_our_failure(
    session, idle_s, cpu_s, reason
):
    session.allow(idle_s, cpu_s)
    # The watchdog looks every twentieth of a second, and a small file is written before that.
    while not session.ended:
        session.furnish({"data.csv": b"1"}, {})
    assert session.ended == reason
    assert session.run_cell("1 + 1", 5).status == "not run"


# Each shell starts the next, deeper than Python may recurse.
NESTED = 'test $1 -gt 0 && sh -c "$0" "$0" $(($1 - 1)); sleep 60'
IN_A_THREAD = """
import subprocess, threading
threading.Thread(target=lambda: subprocess.run(["sleep", "60"])).start()"""


@pytest.mark.parametrize(
    ("command", "count"),
    [(["sh", "-c", NESTED, NESTED, "1100"], 1101), ([sys.executable, "-c", IN_A_THREAD], 2)],
)
def test_every_process_is_found_at_any_depth_and_from_any_thread(command, count):
    program = subprocess.Popen(command, start_new_session=True)
    try:
        tree, deadline = Tree(program.pid), time.monotonic() + 30
        while len(tree.processes()) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(tree.processes()) >= count
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def test_cpu_time_is_limited_for_all_processes_together(open_session):
    session = open_session(replace(SMALL, cpu_s=3))
    code = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    session.run_cell(code, 30)
    assert session.ended == "cpu"


def test_the_clock_of_a_submission_starts_with_its_first_cell(open_session):
    session = open_session(replace(SMALL, submission_timeout_s=2))
    time.sleep(2.5)  # longer than the submission may take
    assert output_of(session, "print(1)") == "1"
    session.run_cell("import time; time.sleep(4)", 30)
    assert session.ended == "clock"


def test_an_endless_loop_is_stopped_and_the_next_cell_runs(open_session):
    session = open_session(replace(SMALL, cell_cpu_s=1))
    assert session.run_cell("while True: pass", 60).status == "timeout"
    assert output_of(session, "print(1)") == "1"


def test_a_flood_of_output_is_cut(session):
    cell_run = session.run_cell("for _ in range(100): print('x' * 1_000_000)", 20)
    assert cell_run.truncated
    assert len(json.dumps(cell_run.outputs)) < 2 << 20


def test_an_answer_that_is_too_large_is_refused(session):
    session.run_cell("import numpy as np; a = np.zeros(10_000_000); b = []; b.append(b)", 10)
    assert ask(session, name("a")) == {"error": {"kind": "too-large"}}
    assert ask(session, name("b")) == {"error": {"kind": "too-large"}}


def test_a_question_leaves_the_notebook_as_it_was(session):
    code = """
import os, random
import numpy as np
import matplotlib.pyplot as plt
np.random.seed(1); random.seed(1)
def f(values):
    values.append(np.random.rand() + random.random()); plt.figure()
    os.chdir('/tmp'); print('hello')
    return values
g = [1.0]
"""
    session.run_cell(code, 10)
    assert "ok" in ask(session, name("f")([1.0]))
    state = """
print(round(np.random.rand(), 6), round(random.random(), 6), os.getcwd(), plt.get_fignums())
"""
    assert output_of(session, state) == "0.417022 0.134364 /work []"


def test_a_session_reports_that_its_process_died(session):
    assert session.run_cell("import os; os._exit(1)", 5).status == "died"
    assert session.ended == "died"
    assert session.ask(canonical(tree_of(name("a")))).text == ""


def test_killing_every_visible_process_ends_no_other_session(open_session):
    killer, other = open_session(SMALL), open_session(SMALL)
    assert output_of(other, "a = 1; print(a)") == "1"
    kill_everything = """
import os
for pid in (1, *range(2, 400)):
    try: os.kill(pid, 9)
    except OSError: pass
"""
    killer.run_cell(kill_everything, 5)
    assert killer.ended == "died"
    assert output_of(other, "print(a)") == "1"


def test_without_bubblewrap_nothing_is_graded_and_the_error_names_the_remedy(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    before = dump_gradebook(toy_course, "toy")
    submit_toy(toy_course, "ada", "a = 4")
    submit_toy(toy_course, "ben", RIGHT)
    empty = toy_course / "no-programs"
    empty.mkdir()
    completed = run(toy_course, "nbmark", "grade", "toy", PATH=str(empty))
    assert completed.returncode == 1
    assert "apt-get install bubblewrap" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert dump_gradebook(toy_course, "toy") == before
    assert not (toy_course / "autograded" / "ben").exists()


def test_a_sandbox_that_cannot_be_built_is_reported_with_the_remedy(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda program: str(fake))
    tmp_path.chmod(0o755)
    session = walls.open_session("bubblewrap", SMALL)
    with pytest.raises(SandboxUnavailable, match="did not start .*; run 'nbmark doctor'"):
        session.run_cell("1", 1)


def test_an_ordinary_user_can_grade(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    completed = as_ordinary_user(toy_course, "grade", "toy", "--json")
    assert completed.returncode == 0, completed.stderr
    (row,) = json.loads(completed.stdout)["students"]
    assert (row["points"], row["sandbox"]) == (3, "bubblewrap, forked")
    assert dump_gradebook(toy_course, "toy")[0]["notebooks"]["toy"]["grades"]["a"][0] == 3.0
