"""Measures the results of the benchmark's searches with common seeds, and tabulates them.

There are two tests: every winner and control at a large n, and, at a smaller n, the result that
each search would have returned after 1/32, 1/16 … of its images. Nothing is measured twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.curves import curves
from benchmarks.earlier_results import earlier_results
from search.controls import CONTROLS
from search.measurement import Measurement
from search.optimisers.replicates import Replicates
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare
from trials.progress import LiveProgress
from trials.record.record import Record
from trials.record.searches import search_records
from trials.record.studies import study_names
from trials.results.results import spent
from trials.runners.ray_runner import RaySettings, ray_workers, run_ray
from trials.runners.study import Study

HERE = Path(__file__).parent
LAB = HERE / "lab"
WORKERS = 2
FINAL_SEED, CURVE_SEED, CURVE_IMAGES = 1001, 1002, 2000
LEAST_BUDGET = 80_000
"""The smallest budget of searches in the figure; smaller ones equal the beginnings of others."""
HALVINGS = 5
"""How often the images of a search are halved for its curve."""

Tests = dict[GenerationStrategy, Measurement]


def is_tested(name: str) -> bool:
    """Whether a search and its own final test are complete."""
    record = search_records(Lab.open(LAB).record_url, name)[-1]
    settings = record.settings
    if settings["kind"] != "test":
        return False
    asked = len(settings["strategies"]) * len(settings["search"]["test_seeds"])
    return len(record.evaluations) == asked


def searches(steps: int) -> Iterator[tuple[Record, Record]]:
    """Yield every finished search of that T in the lab, with its own final test."""
    lab = Lab.open(LAB)
    prefix = f"digits-T{steps}-"
    studies = [study for study in study_names(lab.record_url) if study.startswith(prefix)]
    names = {Record.open(lab.record_url, study).settings["search_name"] for study in studies}
    for name in sorted(names):
        if is_tested(name):
            *found, test = search_records(lab.record_url, name)
            yield from ((record, test) for record in found)


def test_winners(steps: int, images: int) -> None:
    """Measure every winner and every control at n = images."""
    strategies = {name: control(steps) for name, control in CONTROLS.items()}
    for record, _ in searches(steps):
        best = record.best()
        if best is not None:
            strategies[record.name] = best.strategy
    _measure(steps, strategies, images, FINAL_SEED)


def test_curves(steps: int) -> None:
    """Measure the results that each search would have returned earlier."""
    strategies = {
        f"{record.name} after {images}": strategy
        for record, _ in searches(steps)
        for images, strategy in _halvings(record)
    }
    _measure(steps, strategies, CURVE_IMAGES, CURVE_SEED)


def write(steps: int, images: int) -> pd.DataFrame:
    """Write the tables of winners and of curves beside this file, and return that of winners.

    Searches that are in a former table but not in this lab are kept. The best is first.
    """
    path = HERE / f"digits-T{steps}.parquet"
    rows = pd.DataFrame(_rows(steps, images))
    if path.exists():
        former = pd.read_parquet(path)
        former["search"] = former["search"].fillna(former["method"])
        rows = pd.concat([rows, former[~former["search"].isin(rows["search"])]])
    rule = rows.loc[rows["search"] == "rule of thumb", "fid"].iloc[0]
    rows["gap_closed"] = (rule - rows["fid"]) / (rule - rows["fid"].min())
    rows = rows.sort_values("fid", ignore_index=True)
    rows.to_parquet(path)
    tested = pd.DataFrame(_curve_rows(steps))
    tested.to_parquet(HERE / f"curves-T{steps}.parquet")
    title = f"digits, T = {steps}: median and quartiles over search seeds (how many)"
    figure = curves(
        tested[tested["budget"] >= LEAST_BUDGET],
        title,
        f"FID at n = {CURVE_IMAGES:,}, on a seed that no search saw",
    )
    figure.write_html(HERE / f"curves-T{steps}.html")
    return rows


def _rows(steps: int, images: int) -> Iterator[dict[str, Any]]:
    tests = _measured(steps, FINAL_SEED, images)
    for name, control in CONTROLS.items():
        if control(steps) in tests:
            yield {"method": name, "search": name, **_test(tests[control(steps)])}
    for record, own in searches(steps):
        best = record.best()
        if best is None or best.strategy not in tests:
            continue
        settings, optimiser = record.settings["search"], record.settings["optimiser"]
        equal = [
            e.measurement.value
            for e in own.evaluations
            if e.measurement and e.probe.role == optimiser
        ]
        yield {
            "method": optimiser,
            "search": record.name,
            **_test(tests[best.strategy]),
            "seed": settings["seed"],
            "n": settings["images_per_evaluation"],
            "images": spent(record)["images"],
            "believed": best.value,
            "equal_fid": float(np.mean(equal)),
            "equal_se": float(np.std(equal, ddof=1) / math.sqrt(len(equal))),
            "converged": record.converged,
            "strategy": best.strategy.parameters(),
        }


def _test(measured: Measurement) -> dict[str, Any]:
    return {
        "fid": measured.value,
        "fid_se": measured.standard_error,
        "forward_passes": measured.forward_passes,
    }


def _curve_rows(steps: int) -> Iterator[dict[str, Any]]:
    tests = _measured(steps, CURVE_SEED, CURVE_IMAGES)
    for record, _ in searches(steps):
        search = record.settings["search"]
        label = f"{record.settings['optimiser']}, n = {search['images_per_evaluation']}"
        for images, strategy in _halvings(record):
            if strategy in tests:
                row = {"label": label, "run": record.name, "images": images}
                row["budget"] = search["budget"]
                yield row | _test(tests[strategy])


def _halvings(record: Record) -> Iterator[tuple[int, GenerationStrategy]]:
    """What the search would have returned as its images double."""
    total = spent(record)["images"]
    yield from earlier_results(record, [total * 2.0**-k for k in range(HALVINGS, 0, -1)])


def _studies(steps: int, seed: int) -> list[str]:
    names = study_names(Lab.open(LAB).record_url)
    return [name for name in names if name.startswith(f"common-{seed}-T{steps}-")]


def _measured(steps: int, seed: int, images: int) -> Tests:
    url = Lab.open(LAB).record_url
    return {
        done.probe.strategy: done.measurement
        for study in _studies(steps, seed)
        for done in Record.open(url, study).evaluations
        if done.measurement is not None and done.measurement.images == images
    }


def _measure(
    steps: int, strategies: Mapping[str, GenerationStrategy], images: int, seed: int
) -> None:
    """Measure each strategy once that was not measured yet."""
    known = _measured(steps, seed, images)
    missing = {s: name for name, s in strategies.items() if s not in known}
    if not missing:
        return
    objective, lab = load_objective("digits", {}), Lab.open(LAB)
    with LiveProgress() as progress:
        prepare(objective, lab.folder, progress.report("preparing digits"))
        name = f"common-{seed}-T{steps}-{len(_studies(steps, seed))}"
        settings = {**describe("digits", {}, objective), "kind": "common", "search_name": name}
        record = Record.create(lab.record_url, name, settings)
        asked = Replicates({name: s for s, name in missing.items()}, images, [seed])
        study = Study(asked, record, None, len(missing), lambda study: study.show(progress))
        spread = RaySettings(WORKERS, 0.0, None)
        with ray_workers(spread):
            run_ray(study, objective, spread)
