"""Report a command's errors in one line, with an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import click

from nbmark.errors import NbmarkError, UsageError, unknown
from nbmark.untrusted.text import error_summary, one_line


class OneLineErrors(click.Group):
    """A group of commands that report errors in one line, with a traceback only on request."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _one_line_usage_errors():
            return super().make_context(*arguments, **options)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        commands = self.list_commands(context)
        if args[0] not in commands:
            raise unknown("command", args[0], "nbmark", commands)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _one_line_usage_errors():
                return super().invoke(context)
        except NbmarkError as error:
            complain(error)
            sys.exit(2 if isinstance(error, UsageError) else 1)
        except OSError as error:  # a full disk, a folder without permission to write
            click.echo(f"nbmark: {error}; what is written is complete", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "nbmark: stopped; what is written is complete; run it again for the rest", err=True
            )
            sys.exit(130)
        except (click.exceptions.NoArgsIsHelpError, click.Abort, click.exceptions.Exit):
            raise  # click's own ways to end
        except Exception as error:
            _report_internal_error(error)
            sys.exit(1)


@contextlib.contextmanager
def _one_line_usage_errors() -> Iterator[None]:
    """Report click's usage errors in one line, without its explanations."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "nbmark"
        message = one_line(error.format_message(), 500).rstrip(".")
        click.echo(f"nbmark: {message} ('{command} --help' lists the options)", err=True)
        sys.exit(error.exit_code)


def complain(error: NbmarkError) -> None:
    """Print each line of an error on standard error."""
    for line in str(error).splitlines():
        click.echo(f"nbmark: {line}", err=True)


def _report_internal_error(error: Exception) -> None:
    if os.environ.get("NBMARK_TRACEBACK"):
        traceback.print_exception(error)
    click.echo(
        f"nbmark: internal error, {error_summary(error)}; please report it "
        "(NBMARK_TRACEBACK=1 shows where)",
        err=True,
    )
