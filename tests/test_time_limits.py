"""Computing time stops code; idle time only stops code twice, and a person looks at it then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import run
from helpers import RIGHT, SMALL, ask, dump_gradebook, output_of, submit_toy
from nbmark.checks.questions import name
from nbmark.commands.arguments import course_records
from nbmark.course.course import Course
from nbmark.grading.grade import grade
from nbmark.grading.job import Job, JobOptions
from nbmark.models import Graded, Submission
from nbmark.sandbox.session import Session
from nbmark.sandbox.supply import SessionSource
from nbmark.workers.dispatch import as_completed
from nbmark.workers.pool import CheckPool

LIMITS = replace(SMALL, cell_cpu_s=1, question_cpu_s=1, cell_timeout_s=1, question_timeout_s=1)
COMPUTES = """
import time
began_at = time.process_time()
while time.process_time() < began_at + {}: pass
"""
SLEEPS = "import time\ntime.sleep({})\n"
PLENTY_S = 60  # a limit that the cells of a test never reach


@pytest.fixture
def session() -> Iterator[Session]:
    with (
        closing(SessionSource("bubblewrap", LIMITS, ["numpy"])) as supply,
        closing(supply.open()) as opened,
    ):
        yield opened


@contextmanager
def eight_busy_processes() -> Iterator[None]:
    """Share one processor with eight processes that compute without end."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # the processes started from here on inherit it
    busy = [
        # Each in a session of its own: the scheduler shares the processor among sessions.
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(8)
    ]
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for process in busy:
            process.kill()
            process.wait()


def set_limits(course: Path, **limits: float) -> None:
    """Write the toy assignment's limits, and verify it again."""
    lines = [f"{limit} = {value}" for limit, value in limits.items()]
    text = "\n".join(["[limits]", *lines])
    (course / "graders" / "toy" / "assignment.toml").write_text(text)
    completed = run(course, "nbmark", "verify", "toy")
    assert completed.returncode == 0, completed.stdout


def grade_of(course: Path, student: str) -> list[float | bool]:
    """Return the automatic points of task ``a``, and whether it needs manual grading."""
    row = next(row for row in dump_gradebook(course, "toy") if row["student"] == student)
    points, _, _, needs_look = row["notebooks"]["toy"]["grades"]["a"]
    return [points, needs_look]


def reruns(completed: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in completed.stderr.splitlines() if "runs again by itself" in line]


@pytest.mark.parametrize("code", ["while True: pass", "sum(iter(int, 1))"])
def test_an_endless_loop_is_stopped_for_its_computing_time(session, code):
    assert session.run_cell(code, PLENTY_S).limit == "cpu"


def test_the_cell_after_an_endless_loop_runs(session):
    session.run_cell("a = 1\nwhile True: pass", PLENTY_S)
    assert output_of(session, "print(a)") == "1"


def test_an_endless_loop_in_a_thread_is_stopped_like_any_other(session):
    code = """
import threading
def spin():
    while True: pass
thread = threading.Thread(target=spin, daemon=True)
thread.start()
thread.join()
"""
    assert session.run_cell(code, PLENTY_S).limit == "cpu"
    assert output_of(session, "print(1)") == "1"


def test_an_endless_loop_in_a_child_ends_the_whole_process(session):
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'while True: pass'])"
    assert session.run_cell(code, PLENTY_S).status == "died"
    assert session.ended == "cell cpu"


def test_a_loop_that_ignores_the_interrupt_is_killed(session):
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    assert session.run_cell(code, PLENTY_S).limit == "cpu"
    assert session.ended == "cell cpu"
    assert session.run_cell("1", PLENTY_S).status == "not run"


def test_a_cell_that_is_slow_to_stop_keeps_its_process(session):
    code = """
import time
a = 1
try:
    while True: pass
except KeyboardInterrupt:
    interrupted_at = time.process_time()
    while time.process_time() < interrupted_at + 1: pass
"""
    assert session.run_cell(code, PLENTY_S).limit == "cpu"
    assert output_of(session, "print(a)") == "1"


def test_a_cell_that_waits_is_stopped_by_the_clock(session):
    for code in (SLEEPS.format(1000), "import threading\nthreading.Event().wait()"):
        cell_run = session.run_cell(code, 1)
        assert (cell_run.status, cell_run.limit) == ("timeout", "clock")
    assert output_of(session, "print(1)") == "1"


def test_a_cell_may_wait_for_less_than_the_limit(session):
    assert session.run_cell(SLEEPS.format(1.5), 30).status == "ok"


def test_computing_makes_up_for_time_on_the_clock(session):
    code = COMPUTES.format(0.4) + SLEEPS.format(2)
    assert session.run_cell(code, 1).status == "ok"


def test_a_question_is_limited_like_a_cell(session):
    session.run_cell("import time\ndef f():\n    while True: pass", PLENTY_S)
    session.run_cell("def g():\n    time.sleep(1000)", PLENTY_S)
    assert ask(session, name("f")()) is None
    assert ask(session, name("g")()) is None
    assert output_of(session, "print(1)") == "1"


def test_a_right_answer_beside_eight_busy_processes_earns_full_points(toy_course):
    set_limits(toy_course, cell_cpu_s=3, cell_timeout_s=8)
    # With a ninth of the processor this takes eleven seconds on the clock, where a limit of eight
    # would stop it.
    submit_toy(toy_course, "ada", COMPUTES.format(1.2) + RIGHT)
    with eight_busy_processes():
        completed = run(toy_course, "nbmark", "grade", "toy", "--workers", "1")
    assert completed.returncode == 0, completed.stderr
    assert grade_of(toy_course, "ada") == [3.0, False]


@pytest.fixture
def impatient_course(toy_course: Path) -> Path:
    """Return a course that stops a cell after half a second of idle time."""
    set_limits(toy_course, cell_timeout_s=0.5)
    return toy_course


def test_an_answer_that_sleeps_runs_once_more_and_then_needs_a_look(impatient_course):
    submit_toy(impatient_course, "ada", SLEEPS.format(1000) + RIGHT)
    submit_toy(impatient_course, "ben", RIGHT)
    completed = run(impatient_course, "nbmark", "grade", "toy")
    assert completed.returncode == 0, completed.stderr
    assert reruns(completed) == [
        "toy: ada: stopped by the clock; runs again by itself after all others"
    ]
    assert grade_of(impatient_course, "ada") == [0.0, True]
    assert grade_of(impatient_course, "ben") == [3.0, False]


def test_a_student_and_the_instructor_read_that_the_clock_stopped_an_answer(impatient_course):
    submit_toy(impatient_course, "ada", SLEEPS.format(1000) + RIGHT)
    completed = run(impatient_course, "nbmark", "grade", "toy")
    page = (impatient_course / "autograded" / "ada" / "toy" / "toy.ipynb").read_text()
    assert "spent more than 0.5 s without computing and was stopped" in page
    assert "also when it ran again by itself. A person will look at this task." in page
    assert "was stopped for waiting too long" in completed.stdout


def test_a_regrading_that_runs_an_answer_again_follows_the_same_rule(impatient_course):
    submit_toy(impatient_course, "ada", SLEEPS.format(1000) + RIGHT)
    run(impatient_course, "nbmark", "grade", "toy")
    checks = impatient_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace('number("a")', 'value("a")'))
    with_new_file = impatient_course / "source" / "toy" / "table.csv"
    with_new_file.write_text("1\n")
    run(impatient_course, "nbgrader", "generate_assignment", "toy", "--force")
    completed = run(impatient_course, "nbmark", "regrade", "toy", "--apply")
    assert completed.returncode == 0, completed.stderr
    assert "1 had to run again" in completed.stdout
    assert len(reruns(completed)) == 1
    assert grade_of(impatient_course, "ada") == [0.0, True]


class BusyAtFirst:
    """Workers whose machine is busy when a submission runs for the first time.

    The course of the first run allows hardly any idle time, which has the same effect.
    """

    max_under_way = 4

    def __init__(self, first: CheckPool, second: CheckPool) -> None:
        self._pools = [first, second]
        self.runs: list[str] = []
        self.under_way: list[Future[Graded]] = []
        self.company: list[int] = []

    @contextmanager
    def running(self) -> Iterator[Callable[[Submission], Future[Graded]]]:
        with ExitStack() as stack:
            threads = [stack.enter_context(pool.threads()) for pool in self._pools]

            def submit(submission: Submission) -> Future[Graded]:
                number = self.runs.count(submission.student)
                self.runs.append(submission.student)
                self.company.append(sum(not future.done() for future in self.under_way))
                future = threads[number].submit(self._pools[number].grade, submission)
                self.under_way.append(future)
                return future

            yield submit


def test_an_answer_that_only_a_busy_machine_stopped_keeps_its_points(toy_course, tmp_path):
    busy = Path(shutil.copytree(toy_course, tmp_path / "busy"))
    set_limits(busy, cell_timeout_s=0.5)
    for student, answer in {"ada": SLEEPS.format(2) + RIGHT, "ben": RIGHT, "eve": RIGHT}.items():
        submit_toy(toy_course, student, answer)
    assignment = Course(toy_course).assignment("toy")
    gradebook, folders = course_records(toy_course)
    job = Job(assignment, gradebook, folders, None, JobOptions("bubblewrap"))
    with (
        closing(CheckPool(Course(busy).assignment("toy"), "bubblewrap", 2)) as first,
        closing(CheckPool(assignment, "bubblewrap", 1)) as second,
    ):
        workers = BusyAtFirst(first, second)
        rows = grade(job, workers)
    assert [row.earned for row in rows] == [3.0, 3.0, 3.0]
    assert (workers.runs[3:], workers.company[3:]) == (["ada"], [0])
    assert grade_of(toy_course, "ada") == [3.0, False]


def test_every_job_that_blames_the_clock_starts_once_more_after_all_others():
    started = []

    def start(job: str) -> Future[str]:
        started.append(job)
        future: Future[str] = Future()
        future.set_result(job)
        return future

    class Two:
        max_under_way = 2

    jobs = ["slow", "a", "slower", "b"]
    finished = [
        job for job, _ in as_completed(jobs, start, Two(), lambda result: result.startswith("slow"))
    ]
    assert started == [*jobs, "slow", "slower"]
    assert finished == ["a", "b", "slow", "slower"]


def test_a_check_that_never_ends_is_reported_and_nobody_is_graded_on_it(toy_course):
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    # This file runs in the check process, so it can lower that process's own limit.
    lower = "import sys\nsys.modules['__main__'].CHECKS_CPU_S = 1\n"
    endless = "    while True: pass\n"
    checks.write_text(lower + checks.read_text() + endless)
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 1
    assert "a check may have ended its process or run without end" in completed.stderr
