"""Runs a search for the command line: searches, publishes, prints.

Importing this module takes seconds, for Ray, MLflow and PyTorch. The commands import it only when
they run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from typing import Any

import typer

from trials.cli.header import show_header
from trials.cli.printing import INTERRUPTED, note, show_paths
from trials.cli.tables import show_results
from trials.lab import VARIABLES
from trials.progress import LiveProgress, say
from trials.publishing.publish import Published
from trials.publishing.run import run_and_publish
from trials.record.databases import without_password
from trials.record.place import last_place
from trials.record.searches import has_begun
from trials.searches.setting_groups import WhereItRuns
from trials.searches.settings import SearchSettings


def run(
    settings: SearchSettings, *, resume: bool, retry_failed: bool = False, as_json_: bool
) -> None:
    """Run a search or an alternation, publish it and print its results.

    Args:
        settings: of the search.
        resume: resume the search of that name.
        retry_failed: measure failed evaluations of the resumed search again.
        as_json_: print one JSON object in place of tables.

    Raises:
        typer.Exit: the search was interrupted.
        ValueError: a setting is not valid, or the search failed.
    """
    published = searched(settings, resume=resume, retry_failed=retry_failed, show=not as_json_)
    if as_json_:
        name = settings.full_name()
        show_results(published.results, published.anchors, True, published, name)


def searched(
    settings: SearchSettings,
    *,
    resume: bool,
    retry_failed: bool = False,
    resumed_by: str | None = None,
    show: bool,
) -> Published:
    """Run a search or an alternation, publish it and show how it goes.

    Args:
        settings: of the search.
        resume: resume the search of that name.
        retry_failed: measure failed evaluations of the resumed search again.
        resumed_by: the name by which it is resumed, where that is not its own.
        show: print its results on stdout.

    Raises:
        typer.Exit: the search was interrupted.
        ValueError: a setting is not valid, or the search failed.
    """
    settings = settings.completed()
    name = settings.full_name()
    lab = settings.open_lab()
    show_header(settings, lab)

    def show_tables(published: Published) -> None:
        if show:
            show_results(published.results, published.anchors, False, published, name)
        say(f"{name}: writing its report, its runs in MLflow and its notes in Optuna …")

    published = None
    with contextlib.suppress(KeyboardInterrupt):
        published = run_and_publish(
            settings,
            resume=resume,
            retry_failed=retry_failed,
            progress=LiveProgress(),
            show=show_tables,
            note=note,
        )
    if published is None:
        again = resumed_by or name
        where = _where_flags(settings, last_place(lab.record_url, again))
        line = f"interrupted; autonat search --resume {again}{where} continues it"
        if not has_begun(lab.record_url, name) and resumed_by is None:
            line = "interrupted before there was anything to resume"
        say(line)
        raise typer.Exit(INTERRUPTED)
    if published.behind:
        line = f"MLflow is {published.behind} evaluations behind: autonat sync completes it"
        say(line)
    if show:
        show_paths(lab, published.best, published.report)
    return published


def _where_flags(settings: SearchSettings, kept: Mapping[str, Any]) -> str:
    """The flags that a resumed search needs to run in the same place.

    Values that come from environment variables are left out.

    Args:
        settings: of the search.
        kept: those that it has again without a flag.
    """
    said = {os.environ.get(variable) for variable in VARIABLES.values()}
    words = ""
    for name, field in WhereItRuns.model_fields.items():
        value = getattr(settings, name)
        usual = kept.get(name, field.get_default(call_default_factory=True))
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if value != usual and text not in said:
            words += f" --{name.replace('_', '-')} {shlex.quote(without_password(text))}"
    return words
