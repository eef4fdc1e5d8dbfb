"""Runs and publishes a search or an alternation, for the command line and for Python."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from trials.lab import Lab
from trials.objectives.objective import Objective, load_objective
from trials.objectives.preparing import prepared
from trials.progress import LiveProgress
from trials.publishing.attempts import Note
from trials.publishing.publish import Published, Show, publish, show_nothing
from trials.publishing.publish_alternation import publish_alternation
from trials.record.searches import is_finished, search_records
from trials.searches.alternation import alternate
from trials.searches.launch import launch
from trials.searches.settings import AlternationSettings, SearchSettings
from trials.tracking.mirror import Mirror


def run_and_publish(
    settings: SearchSettings,
    *,
    resume: bool,
    retry_failed: bool = False,
    objective: Objective | None = None,
    progress: LiveProgress,
    show: Show,
    note: Note,
) -> Published | None:
    """Run and publish a search or an alternation, whichever the settings are of.

    The arguments, the result and the errors are those of `search_and_publish`. An alternation takes
    no `objective`: its rounds need one that has a name.
    """
    if not isinstance(settings, AlternationSettings):
        return search_and_publish(
            settings,
            resume=resume,
            retry_failed=retry_failed,
            objective=objective,
            progress=progress,
            show=show,
            note=note,
        )
    if objective is not None:
        raise ValueError("what = both: rounds need an objective that has a name")
    return alternate_and_publish(
        settings.model_copy(update={"name": settings.full_name()}),
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        show=show,
        note=note,
    )


def search_and_publish(
    settings: SearchSettings,
    *,
    resume: bool,
    retry_failed: bool = False,
    objective: Objective | None = None,
    progress: LiveProgress,
    show: Show,
    note: Note,
) -> Published | None:
    """Run a search and publish it. A finished search is only published again, without Ray.

    Args:
        settings: of the search; completed where it is resumed.
        resume: resume the search of that name.
        retry_failed: measure failed evaluations of the resumed search again.
        objective: used in place of the one that the settings name.
        progress: shows the progress; not entered yet.
        show: called with the results as soon as their strategy files are written.
        note: called with a line for each optional result that could not be made.

    Returns:
        The published results, or None if the search was interrupted.

    Raises:
        ValueError: as in `launch` and `publish`.
    """
    name = settings.full_name()
    lab = settings.open_lab()
    publishing = f"{name}: publishing its files, its report and its runs in MLflow …"
    if resume and not retry_failed and is_finished(records := search_records(lab.record_url, name)):
        progress.say(publishing)
        made = functools.partial(_finished_objective, settings, lab, objective, progress)
        return publish(lab, name, records, made, Mirror(lab), show, note)
    with progress:
        launched = launch(
            settings,
            resume=resume,
            retry_failed=retry_failed,
            objective=objective,
            progress=progress,
        )
    if not launched.run.finished:
        return None
    progress.say(publishing)
    records = search_records(lab.record_url, name)
    return publish(lab, name, records, lambda: launched.objective, launched.mirror, show, note)


def alternate_and_publish(
    settings: AlternationSettings,
    *,
    resume: bool,
    retry_failed: bool = False,
    progress: LiveProgress,
    show: Show,
    note: Note,
) -> Published | None:
    """Run an alternation and publish it.

    Failed evaluations are tried again only in the search that is in progress, since the following
    ones start from the results of the finished ones. The arguments, the result and the errors are
    those of `search_and_publish`.
    """
    lab, behind = settings.open_lab(), 0

    def search_half(half: SearchSettings, resume_half: bool) -> Path | None:
        nonlocal behind
        published = search_and_publish(
            half,
            resume=resume_half,
            retry_failed=retry_failed and resume_half,
            progress=progress.fresh(),
            show=show_nothing,
            note=note,
        )
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


def _finished_objective(
    settings: SearchSettings, lab: Lab, given: Objective | None, progress: LiveProgress
) -> Objective:
    """The objective of a finished search; it is prepared unless the search trained its models."""
    if settings.what != "generation":
        return given or load_objective(settings.objective, settings.objective_settings)
    with progress:
        return prepared(
            settings.objective, settings.objective_settings, lab.folder, progress, given
        )
