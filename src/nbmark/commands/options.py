"""What the commands of ``nbmark`` take, where several take the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

ASSIGNMENT = click.argument("assignment", required=False)
ALL = click.option("--all", "everything", is_flag=True, help="Every assignment of the course.")
STUDENTS = click.option(
    "--student",
    "students",
    multiple=True,
    metavar="ID",
    help="Only this student; may be given several times.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
SANDBOX = click.option(
    "--sandbox",
    default="bubblewrap",
    show_default=True,
    type=click.Choice(["bubblewrap", "none"]),
    help="The wall around students' code: bubblewrap, or none (development only).",
)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 512),
    metavar="N",
    help="How many submissions run at the same time; one a processor if not given.",
)
COURSE = click.option(
    "--course",
    "root",
    default=".",
    show_default=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The course's folder.",
)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CLUSTER = (
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Grade on the workers of this Dask cluster, tls://HOST:PORT.",
    ),
    click.option("--tls-ca", type=FILE, help="The authority of the cluster's certificates."),
    click.option("--tls-cert", type=FILE, help="Our certificate."),
    click.option("--tls-key", type=FILE, help="Its key."),
    click.option(
        "--patience",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="How long the cluster may be without any worker; 60 if not given.",
    ),
)


def on_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which cluster, if any."""
    for option in reversed(CLUSTER):
        command = option(command)
    return command
