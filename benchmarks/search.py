"""Every optimiser at equal images on real digits, on Ray, then one final test of all winners.

    python -m benchmarks.search digits --steps 8       # hours; run it again and it goes on

A search is an ordinary autonat search of the lab `benchmarks/lab`, so the dashboards open it. Its
own final test repeats what it believed at equal n; the common tests (benchmarks/common_tests.py)
measure all winners and the controls on seeds that nothing else uses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import typer

from benchmarks import common_tests
from benchmarks.common_tests import LAB, WORKERS
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.progress import LiveProgress
from trials.record.record import Record
from trials.record.studies import study_names
from trials.searches.launch import launch
from trials.searches.settings import GenerationSearch, SearchSettings

EQUAL_SEEDS = list(range(1, 11))

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True)
class Arm:
    """What is compared: optimisers under common settings.

    Attributes:
        label: what sets them apart from the plain ones, or nothing.
        optimisers: by name.
        images: n of an evaluation.
        budget: images a method.
        classes: how labels are drawn.
        settings: of the optimisers.
        scheduler: "asha" or None.
        most_seeds: search seeds, of those asked for.
    """

    label: str
    optimisers: tuple[str, ...]
    images: int
    budget: int
    classes: str = "equal"
    settings: Mapping[str, Any] = field(default_factory=dict)
    scheduler: Literal["asha"] | None = None
    most_seeds: int = 100

    def search(self, steps: int, seed: int) -> SearchSettings:
        """The search of this arm with one seed."""
        label = f"-{self.label}" if self.label else ""
        return GenerationSearch(
            name=f"digits-T{steps}-{self.budget // 1000}k-n{self.images}{label}-s{seed}",
            objective="digits",
            objective_settings={"classes": self.classes},
            steps=steps,
            optimisers=list(self.optimisers),
            optimiser_settings={name: dict(self.settings) for name in self.optimisers},
            budget=self.budget,
            images_per_evaluation=self.images,
            scheduler=self.scheduler,
            seed=seed,
            controls=[],
            test_images=self.images,
            test_seeds=EQUAL_SEEDS,
            lab=LAB,
            workers=WORKERS,
            gpus_per_trial=0.0,
        )


def arms(budget: int) -> list[Arm]:
    """The comparison. The reference draws labels at random and all noise anew, as published; it
    gets n = 500, 1,000 and 2,000, for of 4,000 the budget holds fewer than one step."""
    ours, reference = ("coarse-to-fine",), ("autonat-reference",)
    anew = {"common_random_numbers": False}
    return [
        Arm("ours", ours, 250, budget),
        Arm("ours", ours, 250, budget // 10),
        Arm("", ours, 500, 10 * budget, most_seeds=1),
        Arm("", ("cmaes", "tpe"), 250, budget),
        Arm("gp", ("gp",), 250, budget),
        Arm("published", reference, 500, budget, classes="random"),
        Arm("published", reference, 1000, budget, classes="random"),
        Arm("published", reference, 2000, budget, classes="random"),
        Arm("common", ("autonat-common-numbers",), 250, budget),
        Arm("asha", ("tpe",), 500, budget, scheduler="asha"),
        Arm("own-noise", ("cmaes",), 250, budget, classes="random", settings=anew),
    ]


def gone_on(steps: int, budget: int, seeds: list[int]) -> SearchSettings:
    """Nine times as many images at n = 2,000, from the winner of ours that believed in the lowest
    FID: few images find the region, large n, with less bias and noise, the place in it."""
    lab = Lab.open(LAB)
    names = [arms(budget)[0].search(steps, seed).full_name() for seed in seeds]
    found = [Record.open(lab.record_url, f"{name}-coarse-to-fine").best() for name in names]
    best = min((b for b in found if b is not None), key=lambda b: b.value)
    start = LAB / f"start-T{steps}.json"
    StrategyFile(best.strategy).write(start)
    warm = Arm("warm", ("coarse-to-fine",), 2000, 9 * budget).search(steps, 0)
    return warm.model_copy(update={"start": start})


@app.callback()
def commands() -> None:
    """Every optimiser at equal images."""


@app.command()
def digits(
    steps: int = 8,
    budget: int = 80_000,
    seeds: str = "0,1,2",
    test_images: int = 10_000,
    only: str = "",
) -> None:
    """Real digits; `only` some optimisers or labels, by their names with commas."""
    numbers, chosen = [int(s) for s in seeds.split(",")], set(filter(None, only.split(",")))
    for arm in arms(budget):
        if not chosen or chosen & {arm.label, *arm.optimisers}:
            for seed in numbers[: arm.most_seeds]:
                run(arm.search(steps, seed))
    if not chosen or "warm" in chosen:
        run(gone_on(steps, budget, numbers))
    common_tests.test_winners(steps, test_images)
    common_tests.test_curves(steps)
    results(steps, test_images)


@app.command()
def results(steps: int = 8, test_images: int = 10_000) -> None:
    """Write benchmarks/digits-T*.parquet and the figure from the records, and print the table."""
    found = common_tests.write(steps, test_images).drop(columns="strategy", errors="ignore")
    print(found.round(3).to_string(index=False))


def run(settings: SearchSettings) -> None:
    """Run a search, or go on with it; nothing happens where it is done."""
    known = study_names(Lab.open(LAB).record_url)
    name = settings.full_name()
    if f"{name}-test" in known and common_tests.is_tested(name):
        return
    with LiveProgress() as progress:
        resume = any(study.startswith(f"{name}-") for study in known)
        launch(settings, resume=resume, progress=progress)


if __name__ == "__main__":
    sys.exit(app())
