"""Launches a search: checks everything, prepares the objective, runs the search and mirrors it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from search.controls import TWICE_THE_STEPS
from search.progress import Progress
from search.registry import make_optimiser
from search.strategy import require_steps
from search.training_strategy import TrainingStrategy
from search.user_code import explained, own_names
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.objective import (
    TRAINED_BY,
    Checks,
    Grows,
    MeasuresGradients,
    MeasuresTogether,
    Objective,
    Prepares,
    Trains,
    lacks_method,
    load_objective,
    require_heeded,
)
from trials.objectives.other_metric import measuring_in
from trials.objectives.preparing import prepare
from trials.objectives.travelling import check_travels, user_modules
from trials.record.failures import FailureWatch
from trials.record.hold import hold
from trials.record.kinds import SEARCH
from trials.record.place import note_place
from trials.record.running_notes import RunningNotes
from trials.record.searches import refuse_taken
from trials.record.storage import require_two_databases
from trials.record.studies import study_names
from trials.results.announced import Announced, announced
from trials.results.progress import evaluations_paid_for
from trials.searches.earlier_searches import earlier_searches
from trials.searches.search_run import SearchRun
from trials.searches.settings import SearchSettings, TrainedSearch

if TYPE_CHECKING:
    from trials.objectives.training import Trainer
    from trials.runners.study import Study
    from trials.tracking.mirror import Mirror

    RunJobs = Callable[[SearchRun, Objective | Trainer], None]
    """Runs the jobs of a search until it is done."""


@dataclass(frozen=True)
class Launched:
    """A search that ran to its end, or until it was interrupted."""

    settings: SearchSettings
    lab: Lab
    objective: Objective
    run: SearchRun
    mirror: Mirror


def launch(
    settings: SearchSettings,
    *,
    resume: bool,
    retry_failed: bool = False,
    objective: Objective | None = None,
    progress: Progress,
) -> Launched:
    """Run a search until it is done, or until Ctrl-C.

    Args:
        settings: of the search; completed where it is resumed.
        resume: resume the search of that name.
        retry_failed: measure failed evaluations of the resumed search again.
        objective: used in place of the one that the settings name.
        progress: shows the progress of the studies.

    Raises:
        ValueError: a setting is not valid, which is found before anything costly starts; the record
            cannot be written; or too many evaluations in a row failed for the same reason.
    """
    settings = settings.completed()
    progress.say(f"{settings.full_name()}: checking {settings.objective} and the settings …")
    if objective is None:
        objective = load_objective(settings.objective, settings.objective_settings)
    lab = settings.open_lab()
    if not resume:
        refuse_taken(lab.record_url, settings.full_name(), settings.optimisers)
    _require_gpus(settings)
    check(settings, objective, lab)
    measurer = _objective_or_trainer(settings, objective, lab)
    _check_travels(settings, measurer)
    if measurer is not objective or not isinstance(objective, Prepares):
        describe(settings.objective, settings.objective_settings, objective)
    with contextlib.ExitStack() as stack:
        with announced(lab, _announced(settings)):
            run_jobs = stack.enter_context(_workers(settings, progress))
            _prepare(settings, objective, measurer, lab, progress)
            opened = _open_run(settings, objective, lab, resume, retry_failed, progress)
            run, mirror = stack.enter_context(opened)
        try:
            run_jobs(run, measurer)
        finally:  # Ctrl-C is answered at once, although closing them takes seconds
            with_ray = "Ray and " if settings.runner == "ray" else ""
            progress.say(f"{settings.full_name()}: closing {with_ray}MLflow …")
    return Launched(settings, lab, objective, run, mirror)


def _announced(settings: SearchSettings) -> Announced:
    """What is said of a search while it is being prepared."""
    return Announced(
        settings.full_name(),
        settings.objective,
        settings.what,
        settings.steps,
        tuple(settings.optimisers),
        settings.budget_of_one().evaluations * len(settings.optimisers),
    )


@contextlib.contextmanager
def _workers(settings: SearchSettings, progress: Progress) -> Iterator[RunJobs]:
    """A function that runs jobs where the settings say, within a connection to Ray if that is Ray.

    Raises:
        ValueError: Ray does not answer, or its nodes lack what the search needs.
    """
    from trials.runners.local_runner import run_local
    from trials.runners.ray_runner import RaySettings, ray_workers, run_ray

    if settings.runner != "ray":
        yield lambda run, measurer: run_local(run, measurer, settings.evaluations_together)
        return
    spread = RaySettings(
        settings.workers,
        settings.gpus_per_trial,
        settings.ray_address,
        settings.rungs(),
        settings.time_limit,
        settings.evaluations_together,
    )
    address = settings.ray_address
    waited = f"starting Ray with {settings.workers} workers"
    if address:
        waited = f"connecting to Ray at {address}"
    progress.say(f"{settings.full_name()}: {waited} …")
    own = _own_modules()
    has_module = bool(user_modules(settings.objective))
    module = settings.objective.partition(":")[0] if has_module else None
    with ray_workers(spread, own, module):
        yield lambda run, measurer: run_ray(run, measurer, spread)


@contextlib.contextmanager
def _open_run(
    settings: SearchSettings,
    objective: Objective,
    lab: Lab,
    resume: bool,
    retry_failed: bool,
    progress: Progress,
) -> Iterator[tuple[SearchRun, Mirror]]:
    """The run of a search, reserved for this process, and its mirror in MLflow.

    While the block runs, the mirror follows the records, and a search that keeps failing is ended.
    """
    from trials.tracking.background_mirror import BackgroundMirror
    from trials.tracking.mirror import Mirror

    name = settings.full_name()
    failures = FailureWatch(name, settings.max_failures_in_a_row, progress.say)

    def listen(study: Study) -> None:
        following.changed(study.record)
        searches = study.record.settings["kind"] == SEARCH
        total = evaluations_paid_for(study.record) if searches else study.total
        measured(study.record.name, len(study.record.evaluations) >= total)
        notes.changed(study.record)
        failures.saw(study.record)

    first = f"{name}-{settings.optimisers[0]}"
    begun = resume and first in study_names(lab.record_url)
    with contextlib.ExitStack() as stack:
        notes = stack.enter_context(RunningNotes(lab.record_url, lab.optuna_artifacts))
        if begun:  # before its record is read: from then on nobody else may write it
            stack.enter_context(hold(lab.record_url, first))
        run = SearchRun(
            settings, objective, lab, resume=resume, retry_failed=retry_failed, listener=listen
        )
        if not begun:
            stack.enter_context(hold(lab.record_url, first))
        # It marks a search as published, and `autonat report` may have written it before the end.
        (lab.results(name) / "best.json").unlink(missing_ok=True)
        note_place(lab.record_url, first, settings.place())
        mirror = Mirror(lab)
        following = stack.enter_context(
            BackgroundMirror(mirror, progress.say, lambda: run.finished)
        )
        began = datetime.now()
        measured = progress.follow(lambda: run.progress(began))
        for study in run.studies:
            following.changed(study.record)
        done = sum(len(study.record.evaluations) for study in run.studies)
        total = sum(study.total for study in run.studies)
        progress.say(f"{name}: searching, {done} of {total} evaluations are done …")
        yield run, mirror


def _prepare(
    settings: SearchSettings,
    objective: Objective,
    measurer: Objective | Trainer,
    lab: Lab,
    progress: Progress,
) -> None:
    """Prepare the objective, and check that the workers can receive it."""
    from trials.objectives.training import Trainer
    from trials.runners.ray_runner import check_arrives

    if not isinstance(measurer, Trainer) and isinstance(objective, Prepares):
        progress.say(f"{settings.full_name()}: preparing {settings.objective} …")
        prepare(objective, lab.folder, progress.report(f"preparing {settings.objective}"))
        _check_travels(settings, measurer)  # with what it made
    if settings.runner == "ray" and _own_modules():
        check_arrives(measurer)


def _own_modules() -> list[Path]:
    """The user's files and folders that the workers need.

    They belong to the objective, and to what its settings name, such as a generator or a metric.
    """
    found = (path for name in own_names() for path in user_modules(name))
    return list(dict.fromkeys(found))


def _check_travels(settings: SearchSettings, measurer: Objective | Trainer) -> None:
    if settings.runner == "ray":
        check_travels(f"objective {settings.objective}", measurer)


def _objective_or_trainer(
    settings: SearchSettings, objective: Objective, lab: Lab
) -> Objective | Trainer:
    """What the workers measure with: the objective, or a trainer where they train models.

    Raises:
        ValueError: the objective cannot train models as the settings ask.
    """
    if not isinstance(settings, TrainedSearch):
        return objective
    if not isinstance(objective, Trains):
        raise lacks_method(settings.objective, "train")
    own = sorted({*TRAINED_BY, "checkpoint"} & settings.objective_settings.keys())
    if own:
        raise ValueError(
            f"{own[0]} = {settings.objective_settings[own[0]]}: a search of training strategies "
            "trains its own models; set fine_tune_from to start them from stored weights"
        )
    from trials.objectives.training import Trainer

    # This raises where the model cannot be trained.
    objective.training_key(TrainingStrategy("uniform"), 0)
    if settings.fine_tune_from is not None:
        objective.with_checkpoint(lab.folder, settings.fine_tune_from)
    return Trainer(objective, lab.folder, settings.fine_tune_from)


def check(settings: SearchSettings, objective: Objective, lab: Lab) -> None:
    """Check a search before anything is trained or written.

    Raises:
        ValueError: the space, the start, the settings of an optimiser or the budget is not valid;
            the objective cannot measure what is searched; the folder of results cannot be written;
            or the record and MLflow share a database.
    """
    lab.require_results(settings.full_name())
    require_steps(settings.steps, objective.tokens)
    if TWICE_THE_STEPS in settings.controls and 2 * settings.steps > objective.tokens:
        raise ValueError(
            f"control {TWICE_THE_STEPS}: expected T <= {objective.tokens // 2} for an image of "
            f"{objective.tokens} tokens, got T = {settings.steps}"
        )
    space, budget, rungs = settings.space(), settings.budget_of_one(), settings.rungs()
    trains = isinstance(settings, TrainedSearch)
    if trains:
        _objective_or_trainer(settings, objective, lab)
        rungs = None  # they are of training steps, not of images
    require_heeded(objective, settings.generation_space().extras())
    tests = measuring_in(objective, settings.test_metric, settings.objective)
    searched = [*(rungs or ()), settings.images_per_evaluation]
    for one, n in [*((objective, n) for n in searched), (tests, settings.test_images)]:
        if isinstance(one, Checks):
            with explained(f"objective {settings.objective}, in check()", type(one)):
                one.check(settings.generation_space(), n)
    if settings.scheduler and not (trains or isinstance(objective, Grows)):
        needed = f", which scheduler {settings.scheduler} needs"
        raise lacks_method(settings.objective, "evaluate_growing", needed)
    if settings.evaluations_together > 1:
        _check_together(settings, objective)
    if settings.optimiser_settings.get("coarse-to-fine", {}).get("gradients"):
        _check_gradients(settings, objective)
    earlier = earlier_searches(lab.record_url, settings)
    for name in settings.optimisers:
        own = settings.optimiser_settings.get(name)
        first = settings.begins_with_controls
        make_optimiser(name, space, budget, settings.seed, own, objective.tokens, first, earlier)
    require_two_databases(lab.record_url, lab.tracking_uri)  # last, because it creates tables


def _require_gpus(settings: SearchSettings) -> None:
    """Refuse a Ray of our own that lacks the GPUs; a cluster is asked when it is connected."""
    asked = settings.gpus_per_trial
    if settings.runner != "ray" or settings.ray_address is not None or not asked:
        return
    import torch  # it takes a second, and the commands have to answer

    from trials.runners.ray_runner import counted

    found = torch.cuda.device_count()
    if asked > found:
        raise ValueError(
            f"gpus_per_trial = {asked:g}: PyTorch sees {counted(found)} on this machine; "
            "gpus_per_trial = 0 evaluates on its CPUs, and ray_address names a cluster with GPUs"
        )


def _check_together(settings: SearchSettings, objective: Objective) -> None:
    """Check that the evaluations of a search can be measured several at once.

    Raises:
        ValueError: they cannot.
    """
    asked = f"evaluations_together = {settings.evaluations_together}"
    if isinstance(settings, TrainedSearch):
        raise ValueError(f"{asked}: expected 1 for a search that trains a model an evaluation")
    if settings.scheduler is not None:
        raise ValueError(
            f"{asked}: expected 1 with scheduler {settings.scheduler}, which stops single ones"
        )
    if not isinstance(objective, MeasuresTogether):
        raise lacks_method(settings.objective, "evaluate_together", f", which {asked} needs")


def _check_gradients(settings: SearchSettings, objective: Objective) -> None:
    """Check that the gradient can be measured in a search.

    Raises:
        ValueError: it cannot.
    """
    if settings.evaluations_together > 1:
        raise ValueError(
            f"evaluations_together = {settings.evaluations_together}: expected 1 with gradients, "
            "which are measured one by one"
        )
    if not isinstance(objective, MeasuresGradients):
        methods = ("evaluate_with_gradient", "check_gradients")
        lacking = next(method for method in methods if not hasattr(objective, method))
        raise lacks_method(settings.objective, lacking, ", which gradients need")
    with explained(f"objective {settings.objective}, in check_gradients()", type(objective)):
        objective.check_gradients(settings.generation_space(), settings.images_per_evaluation)
