"""Gradients of FID out of evaluations: their noise, and searches that learn from them.

    python -m benchmarks.gradients searches          # digits; run it again to resume
    python -m benchmarks.gradients searches --objective letters --steps 4 --images 400 \
        --budgets 8000 --test-images 2880
    python -m benchmarks.gradients accuracy          # the noise of a gradient; an hour

Coarse-to-fine runs with and without gradients at equal images. Results are tested on seeds that no
search uses. Each row is written at once to benchmarks/gradients-OBJECTIVE-T*.parquet or
gradient-accuracy-T*.parquet.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from benchmarks.search_alone import search_alone
from search.controls import CONTROLS, RULE_OF_THUMB
from search.files import write_whole
from search.gradient import DIFFERENTIABLE, LOGARITHMIC
from search.optimiser import Budget
from search.registry import make_optimiser
from search.schedules import SCHEDULES
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.nat_objective import NATObjective
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare

HERE = Path(__file__).parent
TEST_SEEDS = (1001, 2002)
BEST_CONTROL = "more remask noise"
WITH, WITHOUT = "coarse-to-fine with gradients", "coarse-to-fine"
ACCURACY_IMAGES, MOVE, FIRST_SEED = 1000, 0.15, 700

app = typer.Typer(add_completion=False, no_args_is_help=True)


class Rows:
    """Rows of a parquet file; each is written as soon as it is known."""

    def __init__(self, name: str) -> None:
        self._path = HERE / name
        known = pd.read_parquet(self._path).to_dict("records") if self._path.exists() else []
        self.rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in known]

    def has(self, **fields: Any) -> bool:
        """Whether a row has these fields."""
        return any(all(row[k] == v for k, v in fields.items()) for row in self.rows)

    def add(self, **row: Any) -> None:
        """Add a row."""
        self.rows.append(row)
        with write_whole(self._path) as partial:
            pd.DataFrame(self.rows).to_parquet(partial)
        print(row, flush=True)


def scoring(name: str, lab: Path) -> NATObjective:
    """The objective of that name, prepared."""
    objective = load_objective(name, {})
    if not isinstance(objective, NATObjective):
        raise ValueError(f"expected digits or letters, got {name}")
    prepare(objective, lab, lambda *_: None)
    return objective


@app.command()
def searches(
    seeds: str = "0,1,2",
    budgets: str = "4000,20000",
    steps: int = 8,
    objective: str = "digits",
    images: int = 250,
    test_images: int = 10_000,
    lab: Path = HERE / "lab",
) -> None:
    """Search with each budget of images and each seed; test what is found, and the best control."""
    rows, measured = Rows(f"gradients-{objective}-T{steps}.parquet"), scoring(objective, lab)
    for budget, seed, way in itertools.product(
        map(int, budgets.split(",")), map(int, seeds.split(",")), (WITH, WITHOUT)
    ):
        if not rows.has(method=way, seed=seed, images=budget):
            evaluations = budget // images
            found = searched(measured, way == WITH, seed, steps, Budget(budget, images))
            add_tested(rows, measured, found, test_images, way, seed, evaluations, budget)
    if not rows.has(method=BEST_CONTROL):
        control = CONTROLS[BEST_CONTROL](steps)
        add_tested(rows, measured, control, test_images, BEST_CONTROL, 0, 0, 0)
    print(pd.DataFrame(rows.rows).drop(columns="strategy").to_string())


def searched(
    objective: NATObjective, gradients: bool, seed: int, steps: int, budget: Budget
) -> GenerationStrategy:
    """Return what a search finds."""
    space, own = Space(GenerationStrategy.maskgit(steps)), {"max_in_flight": 1}
    settings = own | ({"gradients": True} if gradients else {})
    made = make_optimiser("coarse-to-fine", space, budget, seed, settings, objective.tokens)
    return search_alone(made, space, budget.evaluations, objective).strategy


def add_tested(
    rows: Rows,
    objective: NATObjective,
    strategy: GenerationStrategy,
    test_images: int,
    method: str,
    seed: int,
    evaluations: int,
    images: int,
) -> None:
    """Add the row of a strategy, with its FID on each test seed."""
    rows.add(
        method=method,
        seed=seed,
        evaluations=evaluations,
        images=images,
        passes=strategy.forward_passes(),
        **tests(objective, strategy, test_images),
        strategy=str(strategy.to_json()),
    )


def tests(objective: NATObjective, strategy: GenerationStrategy, images: int) -> dict[str, float]:
    """The FID on each test seed, and its standard error."""
    found: dict[str, float] = {}
    for seed in TEST_SEEDS:
        measured = objective.evaluate(strategy, images, seed)
        found |= {f"fid_{seed}": measured.value, f"error_{seed}": measured.standard_error or 0.0}
    return found


@app.command()
def accuracy(
    strategies: str = f"{RULE_OF_THUMB},{BEST_CONTROL}",
    evaluations: int = 12,
    differences: int = 3,
    steps: int = 8,
    lab: Path = HERE / "lab",
) -> None:
    """Compare gradients of single evaluations of n = 1,000 with central differences."""
    rows, objective = Rows(f"gradient-accuracy-T{steps}.parquet"), scoring("digits", lab)
    for name in strategies.split(","):
        strategy = CONTROLS[name](steps)
        for seed in range(9000, 9000 + evaluations):
            if not rows.has(strategy=name, kind="gradient", seed=seed):
                found = objective.evaluate_with_gradient(strategy, ACCURACY_IMAGES, seed).gradient
                if found is None:
                    raise ValueError(f"{name}: expected temperatures above 0")
                rows.add(strategy=name, kind="gradient", seed=seed, **named(found.values))
        for seed in range(FIRST_SEED, FIRST_SEED + differences):
            if not rows.has(strategy=name, kind="differences", seed=seed):
                slopes = measured_slopes(objective, strategy, seed)
                rows.add(strategy=name, kind="differences", seed=seed, **slopes)
    grouped = pd.DataFrame(rows.rows).drop(columns="seed").groupby(["strategy", "kind"])
    print(grouped.agg(["mean", "sem", "std"]).T.unstack().round(3).to_string())


def measured_slopes(
    objective: NATObjective, strategy: GenerationStrategy, seed: int
) -> dict[str, float]:
    """The slope between a value moved up and down by MOVE, for every value, under one seed."""
    slopes = []
    for name, place in places(strategy.steps):
        ends = []
        for sign in (1, -1):
            there = moved(strategy, name, place, sign * MOVE)
            value = objective.evaluate(there, ACCURACY_IMAGES, seed).value
            ends.append((coordinate(there, name, place), value))
        (high, above), (low, below) = ends
        slopes.append((above - below) / (high - low))
    return named(slopes)


def places(steps: int) -> list[tuple[str, int]]:
    """The schedule and the step of each value of a gradient."""
    return [(name, t) for name in DIFFERENTIABLE for t in range(SCHEDULES[name].length(steps))]


def named(values: Sequence[float]) -> dict[str, float]:
    """The values of a gradient by name."""
    names = [f"{name}_{t}" for name, t in places((len(values) + 1) // 3)]
    return dict(zip(names, values, strict=True))


def coordinate(strategy: GenerationStrategy, name: str, place: int) -> float:
    """A value as a gradient is in it: the log of a temperature, or a guidance scale."""
    value = strategy.schedule(name)[place]
    return math.log(value) if name in LOGARITHMIC else value


def moved(strategy: GenerationStrategy, name: str, place: int, move: float) -> GenerationStrategy:
    """The strategy with one value moved, within the bounds of a search."""
    bound, values = SCHEDULES[name].bound(strategy.steps), list(strategy.schedule(name))
    at = coordinate(strategy, name, place) + move
    values[place] = min(max(math.exp(at) if name in LOGARITHMIC else at, bound.low), bound.high)
    return replace(strategy.with_values({name: values}), guidance_floor=0.0)


if __name__ == "__main__":
    sys.exit(app())
