"""Pictures of what a search found, as files in its results: MLflow and Optuna's dashboard show
them, and `autonat sync` still has them when MLflow was away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.controls import RULE_OF_THUMB, best_control
from search.names import file_stem
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.pictures import ClassGrid
from trials.results.results import MethodResult

SCHEDULES, SAMPLES, FILM, REAL = "schedules.png", "samples.png", "film.png", "real.png"


def pictures_folder(lab: Lab, name: str, method: str) -> Path:
    """Where the pictures of a search's method lie, if there are any."""
    return lab.results(name) / "pictures" / file_stem(method)


def pictures_of(lab: Lab, name: str, method: str) -> list[Path]:
    """The files of the pictures that there are."""
    folder = pictures_folder(lab, name, method)
    real = folder.parent / REAL
    files = (folder / SCHEDULES, folder / FILM, folder / SAMPLES)
    found = [file for file in files if file.is_file()]
    return [*found, real] if folder / SAMPLES in found and real.is_file() else found


def write_pictures(
    lab: Lab, name: str, results: Sequence[MethodResult], real: ClassGrid | None
) -> None:
    """Draw each method's schedules beside those it has to beat, its samples and how they form.

    Former pictures are removed, because they may be of another winner.

    Args:
        lab: of the project.
        name: of the search.
        results: with samples and films where there are any.
        real: real images of the classes of the samples, where they are known.

    Raises:
        OSError: a file cannot be written.
    """
    from dashboards.film import film_png, filmed
    from dashboards.sample_grids import in_rows, samples_png
    from dashboards.schedule_picture import schedules_png

    control = best_control(results)
    for result in results:
        folder = pictures_folder(lab, name, result.method)
        for former in (folder / SCHEDULES, folder / SAMPLES, folder / FILM, folder.parent / REAL):
            former.unlink(missing_ok=True)
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
            sheet = samples_png(result.samples, result.sample_classes)
            (folder / SAMPLES).write_bytes(sheet)
        if result.searched and result.film is not None:
            others = [other for other in results if not other.searched]
            films = {r.label: r.film for r in filmed([*others, result]) if r.film is not None}
            (folder / FILM).write_bytes(film_png(films or {result.label: result.film}))
    if real is not None:
        folder = pictures_folder(lab, name, REAL).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REAL).write_bytes(samples_png(in_rows(real), real.classes))
