"""Runs a search for the command line: searches, publishes, prints.

Importing this module takes seconds, for Ray, MLflow and PyTorch. The commands import it only when
they run.
"""

from __future__ import annotations

import contextlib
import os
import shlex

import typer

from trials.cli.header import show_header
from trials.cli.printing import INTERRUPTED, note, show_paths
from trials.cli.tables import show_results
from trials.lab import VARIABLES
from trials.progress import LiveProgress, say
from trials.publishing.publish import Published
from trials.publishing.run import run_and_publish
from trials.record.databases import without_password
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
    settings = settings.completed()
    name = settings.full_name()
    lab = settings.open_lab()
    show_header(settings, lab)

    def show(published: Published) -> None:
        if not as_json_:
            show_results(published.results, published.anchors, False, published, name)
        say(f"{name}: writing its report, its runs in MLflow and its notes in Optuna …")

    published = None
    with contextlib.suppress(KeyboardInterrupt):
        published = run_and_publish(
            settings,
            resume=resume,
            retry_failed=retry_failed,
            progress=LiveProgress(),
            show=show,
            note=note,
        )
    if published is None:
        line = f"interrupted; autonat search --resume {name}{_where_flags(settings)} continues it"
        if not has_begun(lab.record_url, name):
            line = "interrupted before there was anything to resume"
        say(line)
        raise typer.Exit(INTERRUPTED)
    if published.behind:
        line = f"MLflow is {published.behind} evaluations behind: autonat sync completes it"
        say(line)
    if as_json_:
        show_results(published.results, published.anchors, True, published, name)
    else:
        show_paths(lab, published.best, published.report)


def _where_flags(settings: SearchSettings) -> str:
    """The flags that a resumed search needs to run in the same place.

    Values that come from environment variables are left out.
    """
    said = {os.environ.get(variable) for variable in VARIABLES.values()}
    words = ""
    for name, field in WhereItRuns.model_fields.items():
        value, usual = getattr(settings, name), field.get_default(call_default_factory=True)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if value != usual and text not in said:
            words += f" --{name.replace('_', '-')} {shlex.quote(without_password(text))}"
    return words
