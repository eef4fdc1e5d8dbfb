"""What the commands that search do once their flags are read: search, publish, print.

Whoever imports this waits seconds for Ray, MLflow and PyTorch: the commands do so when they run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shlex
import sys
from pathlib import Path

import typer

from search.strategy_file import StrategyFile
from trials.cli.printing import note, show_paths, show_results
from trials.lab import VARIABLES, Lab
from trials.objectives.objective import Objective, load_objective
from trials.progress import LiveProgress, say
from trials.publishing.publish import Published, Show, publish
from trials.publishing.publish_alternation import publish_alternation
from trials.record.databases import without_password
from trials.record.searches import has_begun, is_finished, search_records
from trials.searches.alternation import alternate
from trials.searches.launch import launch, prepared, resumed_settings
from trials.searches.setting_groups import WhereItRuns
from trials.searches.settings import AlternationSettings, SearchSettings
from trials.searches.transfer import REFINED, Transferred
from trials.tracking.mirror import Mirror


def run(
    settings: SearchSettings, *, resume: bool, retry_failed: bool = False, as_json_: bool
) -> None:
    """Search, publish, print."""
    settings = settings.completed()
    name = settings.full_name()
    lab = Lab.open(settings.lab, settings.record_url, settings.tracking_uri)

    def show(published: Published) -> None:
        if not as_json_:
            show_results(published.results, published.anchors, False, published, name)

    published = None
    with contextlib.suppress(KeyboardInterrupt):  # whatever it was doing
        if isinstance(settings, AlternationSettings):
            named = settings.model_copy(update={"name": name})
            published = _alternate(named, lab, resume, show, retry_failed)
        else:
            published = _search(settings, resume, show, retry_failed)
    if published is None:
        line = f"interrupted; autonat search --resume {name}{_where(settings)} goes on from here"
        if not has_begun(lab.record_url, name):
            line = "interrupted before there was anything to resume"
        print(line, file=sys.stderr)
        raise typer.Exit(130)
    if published.behind:
        line = f"MLflow is {published.behind} evaluations behind: autonat sync completes it"
        print(line, file=sys.stderr)
    if as_json_:
        show_results(published.results, published.anchors, True, published, name)
    else:
        show_paths(lab, published.best, published.report)


def _where(settings: SearchSettings) -> str:
    """The flags that say again where a search runs; not those that the environment says."""
    said = {os.environ.get(variable) for variable in VARIABLES.values()}
    words = ""
    for name, field in WhereItRuns.model_fields.items():
        value, usual = getattr(settings, name), field.get_default(call_default_factory=True)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if value != usual and text not in said:
            words += f" --{name.replace('_', '-')} {shlex.quote(without_password(text))}"
    return words


def _search(
    settings: SearchSettings, resume: bool, show: Show, retry_failed: bool = False
) -> Published | None:
    """A search and what it publishes, or None if it was interrupted. Of one that is finished, only
    what it publishes, for which no Ray is needed."""
    name = settings.full_name()
    lab = Lab.open(settings.lab, settings.record_url, settings.tracking_uri)
    publishing = f"{name}: publishing its files, its report and its runs in MLflow …"
    if resume and not retry_failed and is_finished(records := search_records(lab.record_url, name)):
        say(publishing)
        of = functools.partial(_objective, settings, lab)
        return publish(lab, name, records, of, Mirror(lab), show, note)
    with LiveProgress() as progress:
        launched = launch(settings, resume=resume, retry_failed=retry_failed, progress=progress)
    if not launched.run.finished:
        return None
    say(publishing)
    records = search_records(lab.record_url, name)
    return publish(lab, name, records, lambda: launched.objective, launched.mirror, show, note)


def _objective(settings: SearchSettings, lab: Lab) -> Objective:
    """Of a search that is finished: prepared, unless its models are in the lab's store."""
    if settings.what == "generation":
        return prepared(settings.objective, settings.objective_settings, lab)
    return load_objective(settings.objective, settings.objective_settings)


def _alternate(
    settings: AlternationSettings, lab: Lab, resume: bool, show: Show, retry_failed: bool
) -> Published | None:
    """An alternation and what it publishes, or None if it was interrupted. Failures are tried
    again in the half-round that it is in: those before it are what it goes on from."""
    behind = 0

    def search_half(half: SearchSettings, resume_half: bool) -> Path | None:
        nonlocal behind
        again = retry_failed and resume_half
        published = _search(half, resume_half, lambda _: None, again)
        if published is None:
            return None
        behind += published.behind
        return published.best

    rounds = alternate(settings, resume=resume, search=search_half)
    if rounds is None:
        return None
    published = publish_alternation(
        lab,
        settings.full_name(),
        rounds,
        lambda: load_objective(settings.objective, settings.objective_settings),
        Mirror(lab),
        show,
        note,
    )
    return dataclasses.replace(published, behind=behind)


def refined(settings: SearchSettings, lab: Lab) -> Transferred | None:
    """What a search found from the transferred strategy; a search that was done is only read."""
    name = settings.full_name()
    best = lab.results(name) / "best.json"
    if not best.exists():
        resume = has_begun(lab.record_url, name)
        if resume:
            here = settings.model_dump(include={*WhereItRuns.model_fields}, exclude_none=True)
            settings = resumed_settings(name, here, None)
        if _search(settings.completed(), resume, lambda _: None) is None:
            return None
    file = StrategyFile.read(best)
    if file.test is None:
        raise ValueError(f"{best}: no final test")
    return Transferred(REFINED, file.generation, file.test)
