"""The command ``nbmark``: each command is a few lines over a function of the same name.

Results go to standard output, the log to standard error. Exit status: 0 all well, 1 something was
not graded or not as expected, 2 the command asked for what does not exist, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nbmark._version import __version__
from nbmark.errors import AssignmentError, InfrastructureError, NbmarkError, UsageError
from nbmark.oneline import OneLineErrors, complain, gist

if TYPE_CHECKING:
    from nbmark.checkpool import CheckPool
    from nbmark.cluster import Cluster
    from nbmark.course import Assignment
    from nbmark.gradebook import Registrar
    from nbmark.records import Row

ASSIGNMENT = click.argument("assignment", required=False)
ALL = click.option("--all", "everything", is_flag=True, help="Every assignment of the course.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
SANDBOX = click.option(
    "--sandbox", default="bubblewrap", show_default=True, type=click.Choice(["bubblewrap", "none"]),
    help="The wall around students' code: bubblewrap, or none (development only).",
)  # fmt: skip
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 512), metavar="N",
    help="How many submissions run at the same time; one a processor if not given.",
)  # fmt: skip
COURSE = click.option(
    "--course", "root", default=".", show_default=True, metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The course's folder.",
)  # fmt: skip
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CLUSTER = (
    click.option("--scheduler", metavar="ADDRESS",
                 help="Grade on the workers of this Dask cluster, tls://HOST:PORT."),
    click.option("--tls-ca", type=FILE, help="The authority of the cluster's certificates."),
    click.option("--tls-cert", type=FILE, help="Our certificate."),
    click.option("--tls-key", type=FILE, help="Its key."),
    click.option("--patience", type=click.FloatRange(0), default=60.0, metavar="SECONDS",
                 show_default=True, help="How long the cluster may be without any worker."),
)  # fmt: skip


def on_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which cluster, if any."""
    for option in reversed(CLUSTER):
        command = option(command)
    return command


def program() -> NoReturn:
    """The program ``nbmark``: `main`, and no time spent on taking the interpreter apart."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


@click.group(cls=OneLineErrors)
@click.version_option(__version__)
def main() -> None:
    """Grade an nbgrader course with hidden checks behind a wall."""
    gc.set_threshold(50_000)  # what is imported stays: the collector need not look through it


@main.command()
@ASSIGNMENT
@ALL
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student.")
@click.option("--force", is_flag=True, help="Grade anew what is graded already.")
@WORKERS
@SANDBOX
@COURSE
@JSON
@on_a_cluster
def grade(
    assignment: str | None, everything: bool, students: tuple[str, ...], force: bool,
    workers: int | None, sandbox: str, root: Path, as_json: bool, **elsewhere: Any,
) -> None:  # fmt: skip
    """Grade the submissions of ASSIGNMENT, or with --all of the whole course, that are due."""
    hire = _hiring(workers, sandbox, **elsewhere)
    if everything:
        _registrar(root)  # what is wrong with the configuration is said once
    found: list[dict[str, Any]] = []
    well, anybody = True, False
    for material in _asked_for(root, assignment, everything):
        try:
            rows = _graded(material, students, force, hire, sandbox, everything)
        except AssignmentError as error:
            if not everything:
                raise
            complain(error)  # the other assignments are graded all the same
            well = False
            continue
        except BaseException:
            if found:
                _print_json({"assignments": found})  # what is graded already
            raise
        from nbmark import report

        well = well and not any(row.outcome == "not graded" for row in rows)
        anybody = anybody or bool(rows)
        if as_json:
            found.append(report.rows_as_json(material, rows))
        else:
            report.print_rows(material.name, rows)
    if students and well and not anybody:
        raise UsageError(f"no submission by student '{students[0]}' under submitted/")
    if as_json:
        _print_json({"assignments": found} if everything else found[0])
    sys.exit(0 if well else 1)


@main.command()
@ASSIGNMENT
@ALL
@click.option("--fast", is_flag=True,
              help="Only as many wrong answers as it takes to fail each check.")  # fmt: skip
@WORKERS
@SANDBOX
@COURSE
@JSON
def verify(
    assignment: str | None, everything: bool, fast: bool, workers: int | None, sandbox: str,
    root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Try ASSIGNMENT, or with --all every one, on its own answers, right and wrong."""
    from nbmark import report
    from nbmark.trials import quick
    from nbmark.verify import as_json as case_as_json
    from nbmark.verify import verify as run

    found, well = [], True
    for material in _asked_for(root, assignment, everything):
        with contextlib.closing(report.Progress(material.name)) as progress:
            cases = run(material, sandbox, workers=workers or 0, choose=quick if fast else list,
                        on_case=progress.verifying)  # fmt: skip
        as_expected = all(case.as_expected for case in cases)
        well = well and as_expected
        found.append({"assignment": material.name, "as_expected": as_expected,
                      "cases": [case_as_json(case) for case in cases]})  # fmt: skip
        if not as_json:
            report.print_cases(material.name, cases)
        for case in cases:
            for problem in case.problems:
                click.echo(f"nbmark: {material.name}: {case.name}: {problem}", err=True)
    if as_json:
        _print_json({"as_expected": well, "assignments": found} if everything else found[0])
    sys.exit(0 if well else 1)


@main.command()
@click.argument("assignment")
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student.")
@click.option("--apply", "applying", is_flag=True, help="Write the new points.")
@WORKERS
@SANDBOX
@COURSE
@JSON
def regrade(
    assignment: str, students: tuple[str, ...], applying: bool, workers: int | None, sandbox: str,
    root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Judge the graded submissions of ASSIGNMENT by today's checks, without running them.

    Shows how everybody's points change and why; writes them with --apply only.
    """
    from nbmark import regrading, report
    from nbmark.checkpool import CheckPool, cores
    from nbmark.grading import refuse_exposed

    (material,) = _asked_for(root, assignment, False)
    refuse_exposed(material.course, sandbox)
    registrar = _registrar(root)
    judge = regrading.apply if applying else regrading.compare
    with (
        contextlib.closing(CheckPool(material, sandbox, workers or cores())) as pool,
        contextlib.closing(report.Progress(material.name)) as progress,
    ):
        changes = judge(material, registrar, pool, students or None, sandbox, progress)
    if as_json:
        _print_json(report.changes_as_json(material.name, changes, applied=applying))
    else:
        report.print_changes(material.name, changes, applied=applying)
    sys.exit(1 if any(one.trouble for one in changes) else 0)


@main.command()
@COURSE
@JSON
def doctor(root: Path, as_json: bool) -> None:
    """Say what this machine lacks for grading, and how to mend it."""
    from nbmark import report
    from nbmark.doctor import examine

    findings = examine(root)
    if as_json:
        _print_json([vars(one) for one in findings])
    else:
        report.print_findings(findings)
    sys.exit(0 if all(one.well for one in findings) else 1)


def _hiring(
    workers: int | None, sandbox: str, scheduler: str | None, tls_ca: Path | None,
    tls_cert: Path | None, tls_key: Path | None, patience: float,
) -> Callable[[Assignment], CheckPool | Cluster]:  # fmt: skip
    """What gives the workers for an assignment: processes of this machine, or a cluster's."""
    files = [tls_ca, tls_cert, tls_key]
    if scheduler is None:
        if any(files):
            raise UsageError("the --tls options go with --scheduler tls://HOST:PORT")
        from nbmark.checkpool import CheckPool, cores

        return lambda material: CheckPool(material, sandbox, workers or cores())
    if workers is not None:
        raise UsageError("--workers is for this machine; with --scheduler the cluster decides")
    if any(files) and not all(files):
        raise UsageError("give all three of --tls-ca, --tls-cert and --tls-key, or none")
    try:
        from nbmark.cluster import Cluster
        from nbmark.cluster_connection import Connection, Tls
    except ModuleNotFoundError as error:
        raise InfrastructureError(
            f"--scheduler needs Dask ({error}); install it with: pip install 'nbmark[cluster]'"
        ) from error
    tls = Tls(*map(Path, filter(None, files))) if tls_ca else None
    connection = Connection(scheduler, tls, patience)
    return lambda material: Cluster(material, sandbox, connection)


def _graded(
    material: Assignment, students: Sequence[str], force: bool,
    hire: Callable[[Assignment], CheckPool | Cluster], sandbox: str, everything: bool,
) -> list[Row]:  # fmt: skip
    """Grade one assignment; in the whole course, a student may have skipped it."""
    with contextlib.closing(hire(material)) as processes:
        if not everything:
            processes.prepare()  # while nbgrader is loaded
        from nbmark import report
        from nbmark.grading import Settings, grade

        if not everything:
            processes.start()
        registrar = _registrar(material.course.root)
        present = registrar.students(material.name) if everything else students
        chosen = [one for one in students if one in present] if students else None
        with contextlib.closing(report.Progress(material.name)) as progress:
            return grade(material, registrar, processes, chosen,
                         Settings(sandbox, force), progress)  # fmt: skip


def _registrar(root: Path) -> Registrar:
    """The gradebook and the folders that the course's configuration names."""
    from nbmark.gradebook import Registrar, load_config

    try:
        return Registrar.of_course(load_config(root.resolve()))
    except NbmarkError:
        raise
    except Exception as error:  # the configuration is a program: it may fail in any way
        raise AssignmentError(
            f"nbgrader_config.py cannot be used: {gist(error)}; mend it in {root.resolve()}"
        ) from error


def _asked_for(root: Path, assignment: str | None, everything: bool) -> list[Assignment]:
    """The assignments that a command is about: exactly one, or all."""
    from nbmark.course import Course

    course = Course(root)
    if everything == (assignment is not None):
        raise UsageError(
            f"name one assignment, or say --all (found: {', '.join(course.assignment_names)})"
        )
    names = [assignment] if assignment is not None else course.assignment_names
    return [course.assignment(name) for name in names]


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


if __name__ == "__main__":
    program()
