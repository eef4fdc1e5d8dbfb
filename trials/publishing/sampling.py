"""Generates the pictures of a search's results: samples, films, and real images beside them."""

from __future__ import annotations

import dataclasses

from search.controls import BASELINES
from trials.lab import Lab
from trials.objectives.drawing import class_grid_of, film_of, real_grid_of, sampled
from trials.objectives.objective import Objective, Trains
from trials.objectives.pictures import (
    ClassGrid,
    Film,
    Films,
    Samples,
    ShowsClasses,
    ShowsRealImages,
)
from trials.publishing.attempts import Note, attempt
from trials.results.results import MethodResult
from trials.results.rounds import BEFORE

COLUMNS, ROWS = 10, 4
"""Classes in a sheet of samples, and images of each."""
SEED = 0
FILMED = (*BASELINES, BEFORE)
"""What a search starts from: its film stands beside those of the winners."""
UNSAMPLED = "the report has no samples"
UNFILMED = "the report does not show how images form"
NO_REAL = "the report shows no real images"


def with_pictures(
    results: list[MethodResult], objective: Objective | None, lab: Lab, note: Note
) -> list[MethodResult]:
    """Add samples and films to results.

    Where a model was trained for the strategy, that model generates them. A result whose pictures
    cannot be generated stays without, and each reason becomes a note.

    Args:
        results: of a search or an alternation.
        objective: generates the images; None for none.
        lab: with the weights of trained models.
        note: called with each reason once.
    """
    reasons: dict[str, None] = {}

    def pictured(result: MethodResult) -> MethodResult:
        model = attempt(UNSAMPLED, lambda: _model_of(result, objective, lab), reasons.setdefault)
        with_samples = attempt(UNSAMPLED, lambda: _sampled(result, model), reasons.setdefault)
        film = attempt(UNFILMED, lambda: _filmed(result, model), reasons.setdefault)
        return dataclasses.replace(with_samples or result, film=film)

    found = [pictured(result) for result in results]
    for reason in reasons:
        note(reason)
    return found


def real_images(objective: Objective | None, note: Note) -> ClassGrid | None:
    """Real images of the classes of the samples; None where the objective has none to show."""
    if not isinstance(objective, ShowsRealImages):
        return None
    return attempt(NO_REAL, lambda: real_grid_of(objective, COLUMNS, ROWS), note)


def _model_of(result: MethodResult, objective: Objective | None, lab: Lab) -> Objective | None:
    """The objective with the model that was trained for a strategy, where one was."""
    if result.checkpoint is not None and isinstance(objective, Trains):
        return objective.with_checkpoint(lab.folder, result.checkpoint)
    # A model is not stored where its test failed.
    return objective if result.training is None else None


def _sampled(result: MethodResult, model: Objective | None) -> MethodResult:
    if isinstance(model, ShowsClasses):
        grid = class_grid_of(model, result.strategy, COLUMNS, ROWS, SEED)
        images = grid.images.reshape(-1, *grid.images.shape[2:])
        return dataclasses.replace(result, samples=images, sample_classes=grid.classes)
    if isinstance(model, Samples):
        images = sampled(model, result.strategy, COLUMNS * ROWS, SEED)
        return dataclasses.replace(result, samples=images)
    return result


def _filmed(result: MethodResult, model: Objective | None) -> Film | None:
    if not isinstance(model, Films) or not (result.searched or result.method in FILMED):
        return None
    return film_of(model, result.strategy, COLUMNS, SEED)
