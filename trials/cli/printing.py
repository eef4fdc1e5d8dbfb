"""What commands print besides tables: notes, JSON, the paths of results."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from trials.progress import say

if TYPE_CHECKING:
    from trials.lab import Lab

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C, SIGTERM or SIGHUP ended."""
RESUMED_BY_REPEATING = "interrupted; the same command resumes from here"

# Paths and names are printed unchanged: "[x]" is not markup, and ":x:" is not an emoji.
out = Console(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else 120,
)
DATABASES = ("record_url", "tracking_uri")
"""The flags of `lab_flags` that commands take which need both."""
ASCII = {"±": "+-", "–": "-", "…": "...", "×": "x", "\N{NO-BREAK SPACE}": " "}
"""Replacements for terminals and logs that accept only ASCII."""


def spell_out() -> None:
    """Make stdout and stderr replace letters that their encoding lacks, in place of failing."""
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
    """Print where a search's files are, and the command that opens its dashboards."""
    out.print(f"best strategy  {best}")
    if report is not None:
        out.print(f"report         {report}")
    out.print(f"dashboards     autonat dashboard{lab_flags(lab, *DATABASES)}")


def lab_flags(lab: Lab, *named: str) -> str:
    """The flags that name a lab to another command, wherever that is called; a space before them.

    What the environment variables say already is left out, and so are passwords.

    Args:
        lab: the lab.
        named: which of "record_url" and "tracking_uri" the command takes.
    """
    from trials.lab import VARIABLES, Lab
    from trials.record.databases import without_password

    told = {name: os.environ.get(variable) or None for name, variable in VARIABLES.items()}
    usual = Lab.at(lab.folder, told["record_url"], told["tracking_uri"])
    words = ["--lab", str(lab.folder)]
    for name in named:
        if (url := getattr(lab, name)) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", without_password(url)]
    return f" {shlex.join(words)}"


@contextlib.contextmanager
def exit_when_interrupted(line: str) -> Iterator[None]:
    """End the command with a line on stderr when Ctrl-C interrupts the block.

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
    """Write a note to stderr: something optional is missing."""
    say(f"note: {line}")


def print_json(value: dict[str, Any] | list[Any]) -> None:
    """Print one JSON value on stdout."""
    print(json.dumps(value, allow_nan=False))
