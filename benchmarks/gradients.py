"""Gradients of FID out of evaluations: their noise, and descents along them.

    python -m benchmarks.gradients descents          # digits; run it again to resume
    python -m benchmarks.gradients descents --objective letters --steps 4 --images 400 \
        --evaluations 8,16 --test-images 2880 --start "first strategies"
    python -m benchmarks.gradients coarse-to-fine    # the search to compare with, 20,000 images
    python -m benchmarks.gradients accuracy          # the noise of a gradient; an hour

A descent first measures the strategies that coarse-to-fine measures first, once each, and starts
from the best of them (or from the rule of thumb, with --start), so that its images can be compared
with those of coarse-to-fine. Results are tested at n = 10,000 on seeds that no search uses. Each
row is written at once to benchmarks/gradient-descents-T*.parquet (letters-gradient-descents-T*) or
gradient-accuracy-T*.parquet.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer

from models.schedule_descent import MOVED, Descent, point_of, strategy_at
from models.schedule_gradients import ScoredImages, gradient_at
from search.controls import CONTROLS, RULE_OF_THUMB
from search.files import write_whole
from search.first_strategies import first_strategies
from search.optimiser import Budget
from search.registry import make_optimiser
from search.seeds import derived_seed
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.nat_objective import NATObjective
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Study

HERE = Path(__file__).parent
TEST_SEEDS = (1001, 2002)
FIRST, BEST_CONTROL = "first strategies", "more remask noise"
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


def rows_of(objective: str, steps: int) -> Rows:
    """The rows of all descents and searches on an objective."""
    return Rows(
        f"{'' if objective == 'digits' else objective + '-'}gradient-descents-T{steps}.parquet"
    )


@app.command()
def descents(
    start: str = f"{FIRST},{RULE_OF_THUMB}",
    seeds: str = "0,1,2",
    steps: int = 8,
    objective: str = "digits",
    images: int = 250,
    evaluations: str = "12,24",
    test_images: int = 10_000,
    lab: Path = HERE / "lab",
) -> None:
    """Descend from each start with each seed; test each after some evaluations; print all rows."""
    rows, made = rows_of(objective, steps), scoring(objective, lab)
    tested = [int(number) for number in evaluations.split(",")]
    for seed, name in itertools.product(map(int, seeds.split(",")), start.split(",")):
        if not rows.has(method=f"gradients, {name}", seed=seed, evaluations=tested[-1]):
            for done, spent, found in descended(made, name, seed, steps, images, tested):
                if not rows.has(method=f"gradients, {name}", seed=seed, evaluations=done):
                    rows.add(
                        method=f"gradients, {name}",
                        seed=seed,
                        evaluations=done,
                        images=spent,
                        passes=found.forward_passes(),
                        **tests(made, found, test_images),
                        strategy=str(found.to_json()),
                    )
    if not rows.has(method=BEST_CONTROL):
        control = CONTROLS[BEST_CONTROL](steps)
        rows.add(
            method=BEST_CONTROL,
            seed=0,
            evaluations=0,
            images=0,
            passes=control.forward_passes(),
            **tests(made, control, test_images),
            strategy=str(control.to_json()),
        )
    print(pd.DataFrame(rows.rows).drop(columns="strategy").to_string())


@app.command()
def coarse_to_fine(
    seeds: str = "0,1,2",
    budget: int = 20_000,
    steps: int = 8,
    objective: str = "digits",
    images: int = 250,
    test_images: int = 10_000,
    lab: Path = HERE / "lab",
) -> None:
    """Run coarse-to-fine with each seed and test its result in the same way."""
    rows, measured = rows_of(objective, steps), scoring(objective, lab)
    space = Space(GenerationStrategy.maskgit(steps))
    for seed in map(int, seeds.split(",")):
        if rows.has(method="coarse-to-fine", seed=seed, images=budget):
            continue
        own = {"max_in_flight": 1}
        evaluations = budget // images
        made = make_optimiser(
            "coarse-to-fine", space, Budget(budget, images), seed, own, measured.tokens
        )
        with tempfile.TemporaryDirectory() as folder:
            record = Record.create(f"sqlite:///{folder}/record.db", "search", {})
            run_local(Study(made, record, space, evaluations, lambda _: None), measured)
            best = record.best()
        if best is None:
            raise RuntimeError(f"seed {seed}: nothing was measured")
        rows.add(
            method="coarse-to-fine",
            seed=seed,
            evaluations=evaluations,
            images=budget,
            passes=best.strategy.forward_passes(),
            **tests(measured, best.strategy, test_images),
            strategy=str(best.strategy.to_json()),
        )


def descended(
    objective: NATObjective, start: str, seed: int, steps: int, images: int, tested: Sequence[int]
) -> Iterator[tuple[int, int, GenerationStrategy]]:
    """Descend; yield evaluations, images of all evaluations, and the result so far."""
    strategy, spent = GenerationStrategy.maskgit(steps), 0
    if start == FIRST:
        known = first_strategies(Space(strategy), objective.tokens)
        noise = derived_seed("first strategies", seed)
        values = {n: objective.evaluate(s, images, noise).value for n, s in known.items()}
        strategy, spent = known[min(values, key=lambda n: values[n])], images * len(values)
    descent = Descent(strategy, objective.real_statistics)
    for number in range(tested[-1]):
        noise = derived_seed("descent", seed, number)
        descent.tell(objective.scored_images(descent.strategy, images, noise))
        if number + 1 in tested:
            yield number + 1, spent + (number + 1) * images, descent.result()


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
        seeds = range(9000, 9000 + evaluations + 1)
        if not rows.has(strategy=name, kind="own gradient"):
            made = [objective.scored_images(strategy, ACCURACY_IMAGES, seed) for seed in seeds]
            for seed, one, other in zip(seeds, made, made[1:], strict=False):
                add_gradient(rows, objective, name, seed, (one, other))
        for seed in range(FIRST_SEED, FIRST_SEED + differences):
            if not rows.has(strategy=name, kind="differences", seed=seed):
                slopes = measured_slopes(objective, strategy, seed)
                rows.add(strategy=name, kind="differences", seed=seed, **slopes)
    found = pd.DataFrame(rows.rows).drop(columns="seed").groupby(["strategy", "kind"])
    print(found.agg(["mean", "sem", "std"]).T.unstack().round(3).to_string())


def add_gradient(
    rows: Rows,
    objective: NATObjective,
    name: str,
    seed: int,
    evaluations: Sequence[ScoredImages],
) -> None:
    """Add the gradient of an evaluation judged by the statistics of another, and of both."""
    one, other = evaluations
    silent = replace(other, scores=torch.zeros_like(other.scores))
    found = gradient_at(one.point, (one, silent), objective.real_statistics)
    # The other one says nothing, but it counts as half of the images.
    values = (2 * found.value).tolist()
    rows.add(strategy=name, kind="own gradient", seed=seed, **named(values))


def measured_slopes(
    objective: NATObjective, strategy: GenerationStrategy, seed: int
) -> dict[str, float]:
    """The slope between a value moved up and down by MOVE, for every value, under one seed."""
    point, slopes = point_of(strategy), []
    for place in range(len(point)):
        ends = []
        for move in (MOVE, -MOVE):
            moved = point.clone()
            moved[place] += move
            there = strategy_at(strategy, moved)
            value = objective.evaluate(there, ACCURACY_IMAGES, seed).value
            ends.append((float(point_of(there)[place]), value))
        (high, above), (low, below) = ends
        slopes.append((above - below) / (high - low))
    return named(slopes)


def named(values: Sequence[float]) -> dict[str, float]:
    """The values of a point by name."""
    steps = (len(values) + 1) // 3
    names = [f"{n}_{t}" for n in MOVED for t in range(steps)]
    names.remove(f"remask_temperature_{steps - 1}")
    return dict(zip(names, values, strict=True))


if __name__ == "__main__":
    sys.exit(app())
