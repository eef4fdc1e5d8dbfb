"""Pictures of what a search found, as files in its results: MLflow and Optuna's dashboard show
them, and `autonat sync` still has them when MLflow was away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.controls import RULE_OF_THUMB, best_control
from search.names import file_stem
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.results.results import MethodResult

SCHEDULES, SAMPLES = "schedules.png", "samples.png"
SAMPLE_WIDTH = 480
"""Pixels across a sheet of samples, at least."""


def pictures_folder(lab: Lab, name: str, method: str) -> Path:
    """Where the pictures of a search's method lie, if there are any."""
    return lab.results(name) / "pictures" / file_stem(method)


def pictures_of(lab: Lab, name: str, method: str) -> list[Path]:
    """The files of the pictures that there are."""
    folder = pictures_folder(lab, name, method)
    return [file for file in (folder / SCHEDULES, folder / SAMPLES) if file.is_file()]


def write_pictures(lab: Lab, name: str, results: Sequence[MethodResult]) -> None:
    """Draw each method's schedules beside those it has to beat, and its samples.

    Args:
        lab: of the project.
        name: of the search.
        results: with samples where there are any.

    Raises:
        OSError: a file cannot be written.
    """
    from dashboards.samples import grid, png
    from dashboards.schedule_picture import schedules_png

    control = best_control(results)
    for result in results:
        folder = pictures_folder(lab, name, result.method)
        if result.searched or result.samples is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if result.searched:
            drawn = {RULE_OF_THUMB: GenerationStrategy.maskgit(result.strategy.steps)}
            if control is not None and control.strategy.steps == result.strategy.steps:
                drawn[control.method] = control.strategy
            drawn[result.method] = result.strategy
            (folder / SCHEDULES).write_bytes(schedules_png(drawn))
        if result.samples is not None:
            sheet = png(grid(result.samples), SAMPLE_WIDTH)
            (folder / SAMPLES).write_bytes(sheet)
