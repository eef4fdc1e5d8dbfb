"""What commands print: the streams that they write to, lines, JSON, and where files lie."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from dashboards.servers import dashboard_commands
from trials.progress import say

if TYPE_CHECKING:
    from trials.lab import Lab

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C or SIGTERM ended."""
RESUMED_BY_REPEATING = "interrupted; the same command resumes from here"

# Paths and names are printed as they are: "[x]" is no markup in them, nor ":x:" an emoji.
out = Console(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else 120,
)
ASCII = {"±": "+-", "–": "-", "…": "...", "×": "x", "\N{NO-BREAK SPACE}": " "}
"""What is written where a terminal or a log takes ASCII only."""


def spell_out() -> None:
    """Let stdout and stderr write what their encoding lacks in other letters, and never fail."""
    codecs.register_error("spelt out", _spelt_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="spelt out")


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters)
    return "".join(escaped), error.end


def show_paths(lab: Lab, best: Path, report: Path | None) -> None:
    """Where a search's files lie, and how its dashboards are opened."""
    from trials.record.databases import without_password

    mlflow, dashboard = dashboard_commands(
        without_password(lab.record_url), without_password(lab.tracking_uri), lab.artifacts
    )
    out.print(f"best strategy     {best}")
    if report is not None:
        out.print(f"report            {report}")
    out.print(f"MLflow UI         {mlflow}")
    out.print(f"Optuna dashboard  {dashboard}")


@contextlib.contextmanager
def exit_when_interrupted(line: str) -> Iterator[None]:
    """Within it, Ctrl-C ends the command with a line on stderr.

    Args:
        line: says how the work is resumed.

    Raises:
        typer.Exit: with the exit code of an interrupted command.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(line)
        raise typer.Exit(INTERRUPTED) from None


def note(line: str) -> None:
    """A line on stderr of something that is missing and does not matter to the rest."""
    say(f"note: {line}")


def print_json(value: dict[str, Any] | list[Any]) -> None:
    """One JSON value."""
    print(json.dumps(value, allow_nan=False))
