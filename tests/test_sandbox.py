"""The wall: what a student's code can reach, use and leave behind."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from conftest import ROOT, run
from helpers import RIGHT, as_ordinary_user, dump, hand_in_toy
from nbmark.errors import SandboxUnavailable
from nbmark.limits import Limits
from nbmark.questions import canonical, name, tree_of
from nbmark.sandboxes import open_session
from nbmark.sandboxes.session import Session

SMALL = Limits(memory_mib=600, disk_mib=32, processes=64, cell_timeout_s=5, question_timeout_s=2)


@pytest.fixture
def session() -> Iterator[Session]:
    found = open_session("bubblewrap", SMALL)
    yield found
    found.close()


def said(session: Session, code: str, timeout_s: float = 10) -> str:
    """What a cell printed, or the name of its error."""
    done = session.run_cell(code, timeout_s)
    return "".join(one.get("text", "") for one in done.outputs).strip() or done.error_name


def ask(session: Session, question) -> dict:
    return json.loads(session.ask(canonical(tree_of(question))) or "null")


def test_there_is_no_network(session):
    code = "import socket; print(len(socket.if_nameindex())); socket.create_connection(('127.0.0.1', 22))"
    assert said(session, code) in ("1", "ConnectionRefusedError")


def test_the_course_and_the_home_directory_are_not_there(session):
    code = f"import os; print(os.path.exists({str(ROOT / 'graders')!r}), os.listdir('/work'), os.path.exists('/root'))"
    assert said(session, code) == "False [] False"


def test_the_graders_environment_is_not_there(session):
    os.environ["NBMARK_TEST_SECRET"] = "secret"
    assert said(session, "import os; print('NBMARK_TEST_SECRET' in os.environ)") == "False"


def test_the_system_is_read_only(session):
    for path in ("/x", "/usr/x", "/opt/python/x", "/dev/x", "/etc/x"):
        assert said(session, f"open({path!r}, 'w')") in ("OSError", "PermissionError")


def test_a_student_is_nobody_and_gains_nothing(session):
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
status = open('/proc/self/status').read()
print(os.getuid(), 'CapEff:\\t0000000000000000' in status, 'NoNewPrivs:\\t1' in status,
      'Seccomp:\\t2' in status, libc.unshare(0x10000000), libc.mount(b'a', b'/tmp', b'tmpfs', 0, 0),
      libc.ptrace(16, 1, 0, 0))
"""
    assert said(session, code) == "1000 True True True -1 -1 -1"


def test_only_its_own_processes_are_seen(session):
    code = "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[-1] < 100)"
    assert said(session, code) == "True"


def test_the_driver_cannot_be_written_to(session):
    code = "import os\nprint(b'driver.py' in open('/proc/1/cmdline', 'rb').read())"
    assert said(session, code) == "True"
    assert said(session, "os.listdir('/proc/1/fd')") == "PermissionError"


def test_the_work_directory_has_a_size(session):
    assert said(session, "open('big', 'wb').write(b'x' * (40 << 20))") == "OSError"


@pytest.mark.parametrize("code", [
    "kept = bytearray(900 << 20)",
    "import mmap\nkept = [mmap.mmap(-1, 50 << 20) for _ in range(30)]\nfor m in kept: m.write(b'x' * (50 << 20))",
    "import os\nfor _ in range(6):\n    if os.fork() == 0:\n        kept = bytearray(200 << 20)\n        while True: pass\nos.wait()",
])  # fmt: skip
def test_memory_is_limited_however_it_is_taken(session, code):
    done = session.run_cell(code, 20)
    assert done.error_name == "MemoryError" or session.ended == "memory"


def test_processes_are_limited(session):
    code = "import subprocess\nkept = [subprocess.Popen(['sleep', '60']) for _ in range(200)]"
    assert session.run_cell(code, 20).error_name in ("BlockingIOError", "OSError", "RuntimeError")


def test_cpu_time_is_limited_over_all_processes():
    session = open_session("bubblewrap", replace(SMALL, cpu_s=3))
    code = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    session.run_cell(code, 30)
    assert session.ended == "cpu"
    session.close()


def test_the_clock_of_a_submission_starts_with_its_first_cell():
    session = open_session("bubblewrap", replace(SMALL, submission_timeout_s=2))
    time.sleep(2.5)
    assert said(session, "print(1)") == "1"
    session.run_cell("import time; time.sleep(4)", 30)
    assert session.ended == "time"
    session.close()


def test_an_endless_loop_is_stopped_and_the_rest_goes_on(session):
    assert session.run_cell("while True: pass", 1).status == "timeout"
    assert said(session, "print(1)") == "1"


def test_a_loop_that_ignores_the_interrupt_is_stopped_too(session):
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    assert session.run_cell(code, 1).status in ("timeout", "died")
    assert session.run_cell("1", 1).status in ("not run", "died")


def test_a_flood_of_output_is_cut(session):
    done = session.run_cell("for _ in range(100): print('x' * 1_000_000)", 20)
    assert done.truncated
    assert len(json.dumps(done.outputs)) < 2 << 20


def test_an_answer_that_is_too_large_is_refused(session):
    session.run_cell("import numpy as np; a = np.zeros(10_000_000); b = []; b.append(b)", 10)
    assert ask(session, name("a")) == {"error": {"kind": "too-large"}}
    assert ask(session, name("b")) == {"error": {"kind": "too-large"}}


def test_a_question_has_a_deadline(session):
    session.run_cell("import time\ndef f():\n    time.sleep(60)", 5)
    assert ask(session, name("f")()) in (None, {"error": {"kind": "interrupted"}})
    assert said(session, "print(1)") == "1"


def test_asking_disturbs_nothing(session):
    code = """
import os, random
import numpy as np
import matplotlib.pyplot as plt
np.random.seed(1); random.seed(1)
def f(values):
    values.append(np.random.rand() + random.random()); plt.figure(); os.chdir('/tmp'); print('hello')
    return values
g = [1.0]
"""
    session.run_cell(code, 10)
    assert "ok" in ask(session, name("f")([1.0]))
    assert said(session, "print(round(np.random.rand(), 6), round(random.random(), 6), os.getcwd(), "
                         "plt.get_fignums())") == "0.417022 0.134364 /work []"  # fmt: skip


def test_a_session_that_dies_says_so(session):
    assert session.run_cell("import os; os._exit(1)", 5).status == "died"
    assert session.ended == "died"
    assert session.ask(canonical(tree_of(name("a")))) is None


def test_killing_the_driver_ends_only_this_session(session):
    session.run_cell(
        "import os, signal\nfor p in range(2, 30):\n    try: os.kill(p, 9)\n    except OSError: pass",
        5,
    )
    assert session.ended == "died"


def test_without_bubblewrap_nobody_is_graded_and_the_remedy_is_named(toy_course, monkeypatch):
    hand_in_toy(toy_course, "ada", RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    before = dump(toy_course, "toy")
    hand_in_toy(toy_course, "ada", "a = 4")
    hand_in_toy(toy_course, "ben", RIGHT)
    empty = toy_course / "no-programs"
    empty.mkdir()
    done = run(toy_course, "nbmark", "grade", "toy", PATH=str(empty))
    assert done.returncode == 1
    assert "apt-get install bubblewrap" in done.stderr
    assert "Traceback" not in done.stderr
    assert dump(toy_course, "toy") == before
    assert not (toy_course / "autograded" / "ben").exists()


def test_a_wall_that_cannot_be_built_is_no_grade(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda program: str(fake))
    tmp_path.chmod(0o755)
    session = open_session("bubblewrap", SMALL)
    with pytest.raises(SandboxUnavailable, match="did not start .*; run 'nbmark doctor'"):
        session.run_cell("1", 1)


def test_doctor_names_a_library_that_a_notebook_lacks(toy_course):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    source.write_text(source.read_text().replace("def f(x):", "import pandas_of_old\\ndef f(x):"))
    done = run(toy_course, "nbmark", "doctor", "--json")
    found = {one["subject"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["libraries"]["found"] == "pandas_of_old (toy)"


def test_doctor_finds_this_machine_well(toy_course):
    done = run(toy_course, "nbmark", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {one["subject"] for one in json.loads(done.stdout)} >= {
        "bubblewrap",
        "sandbox",
        "course",
    }


def test_an_ordinary_user_grades_as_well(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    done = as_ordinary_user(toy_course, "grade", "toy", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["students"][0]["points"] == 3
    assert dump(toy_course, "toy")[0]["notebooks"]["toy"]["grades"]["a"][0] == 3.0


DRAWS = {
    "tensorflow": "tf.random.uniform([])",
    "tensorflow's generator": "tf.random.get_global_generator().uniform([])",
    "keras": "tf.keras.random.uniform([])",
}


@pytest.mark.parametrize("how", DRAWS)
def test_asking_leaves_tensorflows_random_numbers_as_they_were(how):
    limits = Limits(memory_mib=4096, processes=512, disk_mib=64, question_timeout_s=20)
    found = []
    for asks in (False, True):
        session = open_session("bubblewrap", limits)
        try:
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
        finally:
            session.close()
    assert found[0] == found[1]
