"""Compares all optimisers at equal numbers of images on real digits, with Ray.

    python -m benchmarks.search digits --steps 8       # takes hours; run it again to resume

Every search is an ordinary `autonat search` in the lab `benchmarks/lab`, so the dashboards can open
it. Its own final test measures the winner at the n of the search; the common tests
(benchmarks/common_tests.py) measure all winners and controls on seeds that are not used elsewhere.
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
    """One arm of the comparison: optimisers with common settings.

    Attributes:
        label: what distinguishes them from the default, or "".
        optimisers: the names of the optimisers.
        images: n, the number of images of an evaluation.
        budget: the number of images for each method.
        classes: how labels are drawn.
        settings: the settings of the optimisers.
        scheduler: "asha" or None.
        most_seeds: the largest number of search seeds.
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
        """Return the settings of this arm's search with one seed."""
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
    """Return the arms of the comparison.

    autonat-reference draws labels at random and new noise every time, as published. It gets
    n = 500, 1,000 and 2,000; at 4,000 the budget does not pay for one step.
    """
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


def continued(steps: int, budget: int, seeds: list[int]) -> SearchSettings:
    """Return a search of nine times as many images at n = 2,000, from our best winner.

    The best winner is the one whose search believed the lowest FID. Few images find the region;
    a large n, with less bias and noise, finds the best point in it.
    """
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
    """Compare all optimisers at equal numbers of images."""


@app.command()
def digits(
    steps: int = 8,
    budget: int = 80_000,
    seeds: str = "0,1,2",
    test_images: int = 10_000,
    only: str = "",
) -> None:
    """Run the comparison on real digits; --only selects optimisers or labels, with commas."""
    numbers, chosen = [int(s) for s in seeds.split(",")], set(filter(None, only.split(",")))
    for arm in arms(budget):
        if not chosen or chosen & {arm.label, *arm.optimisers}:
            for seed in numbers[: arm.most_seeds]:
                run(arm.search(steps, seed))
    if not chosen or "warm" in chosen:
        run(continued(steps, budget, numbers))
    common_tests.test_winners(steps, test_images)
    common_tests.test_curves(steps)
    results(steps, test_images)


@app.command()
def results(steps: int = 8, test_images: int = 10_000) -> None:
    """Write benchmarks/digits-T*.parquet and the figure from the records; print the table."""
    found = common_tests.write(steps, test_images).drop(columns="strategy", errors="ignore")
    print(found.round(3).to_string(index=False))


def run(settings: SearchSettings) -> None:
    """Run or resume a search; a complete search is left alone."""
    known = study_names(Lab.open(LAB).record_url)
    name = settings.full_name()
    if f"{name}-test" in known and common_tests.is_tested(name):
        return
    with LiveProgress() as progress:
        resume = any(study.startswith(f"{name}-") for study in known)
        launch(settings, resume=resume, progress=progress)


if __name__ == "__main__":
    sys.exit(app())
