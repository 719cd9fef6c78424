"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from nbmark.sandbox import walls

ASSIGNMENT = click.argument("assignment", required=False)
ALL = click.option("--all", "whole_course", is_flag=True, help="Every assignment of the course.")
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
    default=walls.DEFAULT,
    show_default=True,
    type=click.Choice(list(walls.KINDS)),
    help=walls.OPTION_HELP,
)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 512),
    metavar="N",
    help="How many submissions run at the same time. Default: one for each processor.",
)
WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="How long to wait for another grading of the course. Default: 30.",
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
    click.option(
        "--tls-ca", type=FILE, help="The authority that signed the cluster's certificates."
    ),
    click.option("--tls-cert", type=FILE, help="Our certificate."),
    click.option("--tls-key", type=FILE, help="The key of our certificate."),
    click.option(
        "--patience",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="How long the cluster may be without any worker. Default: 60.",
    ),
)


def on_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a cluster."""
    for option in reversed(CLUSTER):
        command = option(command)
    return command
