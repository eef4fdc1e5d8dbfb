"""What a search's runs in MLflow say at its end: numbers, schedules, files, and the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from dashboards import markdown
from search.controls import best_searched
from search.names import file_stem
from trials.lab import Lab, find_strategy
from trials.publishing.pictures import pictures_of
from trials.record.kinds import TEST
from trials.record.record import Record
from trials.results.anchors import Anchor, recorded_anchors
from trials.results.results import MethodResult, method_results
from trials.tracking.mirror import Mirror, Outcome

BEST = "best.json"


def complete(
    lab: Lab, name: str, records: list[Record], mirror: Mirror, note: Callable[[str], None]
) -> None:
    """Bring MLflow up to a search's records, and its runs to what came of it; a note where it does
    not answer."""
    results, anchors = method_results(records), recorded_anchors(records)
    by_method = {result.method: result for result in results}
    try:
        for record in records:
            result = by_method.get(record.settings.get("optimiser", ""))
            if record.settings["kind"] == TEST:
                outcome = _of_test(lab, name, results, anchors)
            elif result is not None:
                outcome = _of_method(lab, name, result, results, anchors)
            else:
                outcome = Outcome()
            mirror.finish(record, outcome)
    except ValueError as error:  # which costs one time-out, not one a study
        note(str(error))


def _of_method(
    lab: Lab, name: str, result: MethodResult, results: list[MethodResult], anchors: list[Anchor]
) -> Outcome:
    folder = lab.results(name)
    files = [find_strategy(folder, result.method), folder / "report.html", *_weights(lab, result)]
    if result is best_searched(results):
        files.append(folder / BEST)
    metric = result.metric
    values = {
        f"test_{metric}": result.value,
        f"test_{metric}_se": result.standard_error,
        f"search_{result.search_metric}": result.search_value,
        "forward_passes": result.forward_passes,
        "flops": result.flops,
        "images": result.images,
        "converged": result.converged,
    }
    return Outcome(
        [*_present(files), *pictures_of(lab, name, result.method)],
        _finite(values),
        markdown.rounded_schedules(result.strategy) | result.strategy.unusual_choices(),
        markdown.of_method(result, results, anchors),
    )


def _of_test(lab: Lab, name: str, results: list[MethodResult], anchors: list[Anchor]) -> Outcome:
    """The final test has the numbers of all, each under a name of its own: `test_fid` would be a
    second row of the same number in the list of searches."""
    folder, best = lab.results(name), best_searched(results)
    values: dict[str, float | None] = {}
    for result in results:
        of_method = f"{result.metric}_of_{file_stem(result.method)}"
        values |= {of_method: result.value, f"{of_method}_se": result.standard_error}
    for anchor in anchors:
        values[f"{results[0].metric}_of_{file_stem(anchor.name)}"] = anchor.value
    pictures = [] if best is None else pictures_of(lab, name, best.method)
    parameters = (
        {} if best is None else {"best": best.method, **markdown.rounded_schedules(best.strategy)}
    )
    files = [*_present([folder / BEST, folder / "report.html"]), *pictures]
    return Outcome(files, _finite(values), parameters, markdown.of_search(results, anchors))


def _weights(lab: Lab, result: MethodResult) -> list[Path]:
    """The file of the weights that a search trained for its winner, if it did."""
    if result.checkpoint is None:
        return []
    from models.training.checkpoints import WEIGHTS, stored_folder

    return [stored_folder(lab.folder, result.checkpoint) / WEIGHTS]


def _present(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.exists()]


def _finite(values: dict[str, float | None]) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}
