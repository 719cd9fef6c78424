"""What the commands of ``nbmark`` set going: on which assignments, with which workers.

What a job needs is imported when it is due: the program answers at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbmark.errors import AssignmentError, InfrastructureError, NbmarkError, UsageError
from nbmark.oneline import gist

if TYPE_CHECKING:
    from nbmark.checkpool import CheckPool
    from nbmark.cluster import Cluster
    from nbmark.course import Assignment
    from nbmark.gradebook import Registrar
    from nbmark.records import Row
    from nbmark.regrading import Change

PATIENCE_S = 60.0  # without any worker


def asked_for(root: Path, assignment: str | None, everything: bool) -> list[Assignment]:
    """The assignments that a command is about: exactly one, or all."""
    from nbmark.course import Course

    course = Course(root)
    if everything == (assignment is not None):
        raise UsageError(
            f"name one assignment, or say --all (found: {', '.join(course.assignment_names)})"
        )
    names = [assignment] if assignment is not None else course.assignment_names
    return [course.assignment(name) for name in names]


def registrar_of(root: Path) -> Registrar:
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


def hiring(
    workers: int | None,
    sandbox: str,
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    patience: float | None,
) -> Callable[[Assignment], CheckPool | Cluster]:
    """What gives the workers for an assignment: processes of this machine, or a cluster's."""
    files = [tls_ca, tls_cert, tls_key]
    if scheduler is None:
        if any(files):
            raise UsageError("the --tls options go with --scheduler tls://HOST:PORT")
        if patience is not None:
            raise UsageError("--patience is for the workers of a --scheduler")
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
    connection = Connection(scheduler, tls, PATIENCE_S if patience is None else patience)
    return lambda material: Cluster(material, sandbox, connection)


def graded(
    material: Assignment,
    students: Sequence[str],
    force: bool,
    hire: Callable[[Assignment], CheckPool | Cluster],
    sandbox: str,
    everything: bool,
) -> list[Row]:
    """Grade one assignment; in the whole course, everybody or some may have skipped it."""
    with contextlib.closing(hire(material)) as processes:
        if not everything:
            processes.prepare()  # while nbgrader is loaded
        from nbmark import report
        from nbmark.grading import Settings, grade

        if not everything:
            processes.start()
        registrar = registrar_of(material.course.root)
        present = registrar.students(material.name) if everything else students
        if everything and not present:
            return []
        chosen = [one for one in students if one in present] if students else None
        with contextlib.closing(report.Progress(material.name)) as progress:
            return grade(material, registrar, processes, chosen, Settings(sandbox, force), progress)


def judged(
    material: Assignment,
    registrar: Registrar,
    students: Sequence[str],
    applying: bool,
    workers: int | None,
    sandbox: str,
    everything: bool,
) -> list[Change]:
    """Judge one assignment anew; in the whole course, everybody or some may have skipped it."""
    from nbmark import evidence, regrading, report
    from nbmark.checkpool import CheckPool, cores
    from nbmark.grading import refuse_exposed

    refuse_exposed(material.course, sandbox)
    present = evidence.students(material.course, material.name) if everything else students
    if everything and not present:
        return []
    chosen = [one for one in students if one in present] if students else None
    judge = regrading.apply if applying else regrading.compare
    with (
        contextlib.closing(CheckPool(material, sandbox, workers or cores())) as pool,
        contextlib.closing(report.Progress(material.name, "judge anew")) as progress,
    ):
        return judge(material, registrar, pool, chosen, sandbox, progress)
