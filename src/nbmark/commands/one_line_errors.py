"""What goes wrong with a command, as one line and an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import click

from nbmark.errors import NbmarkError, UsageError, unknown
from nbmark.safetext import one_line


class OneLineErrors(click.Group):
    """Says what is wrong in one line each, and shows no traceback unless asked for."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _refusals():
            return super().make_context(*arguments, **options)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(context)
        if args[0] not in known:
            raise unknown("command", args[0], "nbmark", known)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _refusals():
                return super().invoke(context)
        except NbmarkError as error:
            complain(error)
            sys.exit(2 if isinstance(error, UsageError) else 1)
        except OSError as error:  # a full disk, a folder that may not be written
            click.echo(f"nbmark: {error}; what is written is complete", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "nbmark: stopped; what is written is complete, run it again for the rest", err=True
            )
            sys.exit(130)
        except (click.exceptions.NoArgsIsHelpError, click.Abort, click.exceptions.Exit):
            raise  # click's own ways to end
        except Exception as error:
            _confess(error)
            sys.exit(1)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What click refuses to take, as one line without its explanations."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "nbmark"
        said = one_line(error.format_message(), 500).rstrip(".")
        click.echo(f"nbmark: {said} ('{command} --help' tells what it takes)", err=True)
        sys.exit(error.exit_code)


def complain(error: NbmarkError) -> None:
    """Print each of its lines on standard error."""
    for line in str(error).splitlines():
        click.echo(f"nbmark: {line}", err=True)


def gist(error: Exception) -> str:
    """Type and first line of an error."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {one_line(first, 300)}" if first else type(error).__name__


def _confess(error: Exception) -> None:
    """A fault of our own program, as one line."""
    if os.environ.get("NBMARK_TRACEBACK"):
        traceback.print_exception(error)
    click.echo(
        f"nbmark: internal error, {gist(error)}; please report it (NBMARK_TRACEBACK=1 shows where)",
        err=True,
    )
