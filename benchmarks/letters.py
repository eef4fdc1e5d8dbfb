"""Compares searches on letters at equal numbers of images, without Ray, on a CPU or one GPU.

    python -m benchmarks.letters run --size large --steps 8 --out FOLDER     # minutes on a GPU
    python -m benchmarks.letters run --size small --steps 4 --out FOLDER     # hours on 2 cores
    python -m benchmarks.letters table benchmarks/letters-large.parquet
    python -m benchmarks.letters picture benchmarks/letters-large.parquet docs/letters.png

Every search is a record in FOLDER, so a run that was interrupted goes on where it was. What each
search found is measured on a seed that no search uses, beside all controls at T and, up to T = 16,
at 2T; with `--marks`, so is the lowest single value that it had seen earlier. It needs only what
`search`, `models` and `trials.record` need, so that it runs on a bare machine with a GPU.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.earlier_results import earlier_results
from benchmarks.kept_rows import Row, read_rows, require_same_plan, rows_of_tasks, run_command
from models.precision import device
from search.bound import Bound
from search.controls import CONTROLS
from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.description import describe
from trials.objectives.letters.files import SIZES
from trials.objectives.letters.objective import LettersObjective
from trials.record.record import Record
from trials.record.studies import study_names
from trials.runners.local_runner import run_local
from trials.runners.study import Study

FINAL_SEED = 1001
MOST_STEPS = 32
"""Of controls at 2T; more cost minutes on a GPU."""
SHOWN_STEPS = 8
"""T of the letters in the picture."""


@dataclass(frozen=True)
class Arm:
    """A search with its settings."""

    label: str
    optimiser: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    controls_first: bool = False
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    token_order: str = "confidence"
    bounds: Mapping[str, Bound] = field(default_factory=dict)


COARSE = {"coordinates": "coarse"}
SPREAD = "confidence-spread"
NOISES = {"token_order": ("confidence", SPREAD)}
CONTROL_ORDERS = {"controls": "confidence", "controls with spread noise": SPREAD}
ARMS = [
    Arm("coarse-to-fine", "coarse-to-fine", controls_first=True),
    Arm("coarse-to-fine with gradients", "coarse-to-fine", {"gradients": True}, True),
    Arm(
        "coarse-to-fine with gradients and both noises",
        "coarse-to-fine",
        {"gradients": True},
        True,
        NOISES,
    ),
    Arm("qlognei, coarse, controls first", "qlognei", COARSE, True),
    Arm("gp, controls first", "gp", controls_first=True),
    Arm("cmaes, controls first", "cmaes", controls_first=True),
    Arm("coarse-to-fine without controls", "coarse-to-fine", {"begin_with_controls": False}),
    Arm("qlognei, coarse", "qlognei", COARSE),
    Arm("gp, coarse, controls first", "gp", COARSE, True),
    Arm("cmaes, coarse, controls first", "cmaes", COARSE, True),
    Arm("tpe, controls first", "tpe", controls_first=True),
    Arm("gp", "gp"),
    Arm("cmaes", "cmaes"),
    Arm("tpe", "tpe"),
    Arm("qlognei, controls first", "qlognei", controls_first=True),
    Arm("smac, controls first", "smac", controls_first=True),
    Arm("smac, coarse, controls first", "smac", COARSE, True),
    Arm("autonat-reference", "autonat-reference"),
]
ON_SPREAD_NOISE = (
    "coarse-to-fine",
    "coarse-to-fine with gradients",
    *(f"{name}, coarse, controls first" for name in ("gp", "cmaes", "smac")),
)
ARMS += [
    replace(arm, label=f"{arm.label} and spread noise", token_order=SPREAD)
    for arm in ARMS
    if arm.label in ON_SPREAD_NOISE
]
LOWER_BOUNDS = {"sampling_temperature": Bound(0.05, 4.0, log=True)}
WIDER_BOUNDS = LOWER_BOUNDS | {"remask_temperature": Bound(0.01, 300.0, log=True)}
ARMS += [
    replace(arm, label=f"{arm.label}, {name} bounds", bounds=bounds)
    for arm in ARMS
    if arm.label == "coarse-to-fine with gradients and spread noise"
    for name, bounds in (("lower", LOWER_BOUNDS), ("wider", WIDER_BOUNDS))
]


@dataclass(frozen=True)
class Plan:
    """What all searches of a run have in common.

    Attributes:
        size: of the letters.
        metric: that the searches minimise; everything is tested in FID.
        images: n of an evaluation.
        budget: the images of a search.
        test_images: n of the final tests.
        precision: of generation.
        marks: the shares of its images after which the best strategy of a search is measured too.
        out: the folder of the records.
    """

    size: str
    metric: str
    images: int
    budget: int
    test_images: int
    precision: str
    marks: tuple[float, ...]
    out: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run the searches that are missing")
    run.add_argument("--size", choices=SIZES, default="small")
    run.add_argument("--steps", type=int, nargs="+", default=[8])
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    labels = [arm.label for arm in ARMS]
    run.add_argument("--arms", nargs="+", choices=labels, default=labels, metavar="ARM")
    run.add_argument("--metric", default="fid", help="that is searched; FID is what is tested")
    run.add_argument("--images", type=int, default=1000)
    run.add_argument("--budget", type=int, default=62_000)
    run.add_argument("--test-images", type=int, default=10_080)
    run.add_argument("--precision", default="float32")
    run.add_argument("--marks", type=float, nargs="*", default=[], metavar="SHARE")
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--seconds", type=float, default=math.inf, help="start no search after these")
    run.add_argument("--out", type=Path, required=True)
    run.set_defaults(command=run_all)
    run_command(parser, commands, table, draw)


def run_all(given: argparse.Namespace) -> None:
    """Run the controls and every arm that is missing, and write rows.parquet and the table."""
    started = time.monotonic()
    plan = Plan(
        given.size,
        given.metric,
        given.images,
        given.budget,
        given.test_images,
        given.precision,
        tuple(given.marks),
        given.out,
    )
    told = asdict(plan) | {"out": "", "marks": list(plan.marks)}
    require_same_plan(plan.out, told)
    kept = plan.out / "rows.jsonl"
    done = {(row["label"], row["steps"], row["seed"]) for row in read_rows(kept)}
    tasks: list[tuple[str, int, int]] = [
        (label, steps, 0) for label in CONTROL_ORDERS for steps in _lengths(given.steps)
    ]
    tasks += [
        (label, steps, seed)
        for seed in given.seeds
        for steps in given.steps
        for label in given.arms
    ]
    tasks = [task for task in tasks if task not in done]
    measure = functools.partial(_task, plan, started + given.seconds)
    rows = rows_of_tasks(kept, tasks, measure, given.processes)
    frame = pd.DataFrame(rows)
    frame.to_parquet(plan.out / "rows.parquet")
    pd.DataFrame(evaluations(plan.out)).to_parquet(plan.out / "evaluations.parquet")
    print(table(frame))


def _lengths(steps: list[int]) -> list[int]:
    return sorted({*steps, *(2 * length for length in steps if 2 * length <= MOST_STEPS)})


_OBJECTIVES: dict[tuple[str, str, str], LettersObjective] = {}


def _objective(plan: Plan, metric: str) -> LettersObjective:
    """The objective of this process, for a metric."""
    key = (plan.size, metric, plan.precision)
    if key not in _OBJECTIVES:
        torch.set_num_threads(1)
        made = LettersObjective(size=plan.size, metric=metric, precision=plan.precision)
        made.prepare(plan.out, lambda *_: None)
        _OBJECTIVES[key] = made
    return _OBJECTIVES[key]


def _task(plan: Plan, until: float, task: tuple[str, int, int]) -> list[Row]:
    """The rows of one search, or of the controls of a T; none if it is too late to start."""
    label, steps, seed = task
    if time.monotonic() > until:
        return []
    if label in CONTROL_ORDERS:
        return list(_controls(plan, label, steps))
    arm = next(arm for arm in ARMS if arm.label == label)
    return list(_search(plan, arm, steps, seed))


def _controls(plan: Plan, label: str, steps: int) -> Iterator[Row]:
    tested: list[GenerationStrategy] = []
    for name, control in CONTROLS.items():
        strategy = replace(control(steps), token_order=CONTROL_ORDERS[label])
        if strategy.steps == steps and strategy not in tested:
            tested.append(strategy)
            yield _tested(plan, label, name, steps, 0, strategy)


def _search(plan: Plan, arm: Arm, steps: int, seed: int) -> Iterator[Row]:
    """Run or resume a search, and measure what it found on the way."""
    objective = _objective(plan, plan.metric)
    name = f"T{steps}-{arm.label}-s{seed}".replace(", ", "-").replace(" ", "-")
    url = f"sqlite:///{plan.out.resolve() / name}.db"
    start = replace(GenerationStrategy.maskgit(steps), token_order=arm.token_order)
    space = Space(start, arm.bounds, choices=arm.choices)
    budget = Budget(plan.budget, plan.images)
    given = dict(arm.settings)
    firsts = arm.controls_first
    made = make_optimiser(arm.optimiser, space, budget, seed, given, objective.tokens, firsts)
    if name in study_names(url):
        record = Record.open(url, name)
    else:
        told = {
            **describe("letters", {"size": plan.size, "metric": plan.metric}, objective),
            "kind": "search",
            "search_name": name,
            "optimiser": arm.optimiser,
            "space": space.to_json(),
        }
        record = Record.create(url, name, told)
    run_local(Study(made, record, space, budget.evaluations, lambda _: None), objective)
    seconds = float(record.frame()["seconds"].sum())
    for images, strategy in earlier_results(record, [s * plan.budget for s in plan.marks]):
        more = {"images": images, "seconds": seconds, "evaluations": len(record.evaluations)}
        yield _tested(plan, arm.label, name, steps, seed, strategy) | more


def _tested(
    plan: Plan, label: str, name: str, steps: int, seed: int, strategy: GenerationStrategy
) -> Row:
    found = _objective(plan, "fid").evaluate(strategy, plan.test_images, FINAL_SEED)
    return {
        "label": label,
        "name": name,
        "size": plan.size,
        "steps": steps,
        "seed": seed,
        "images": 0,
        "metric": plan.metric,
        "images_per_evaluation": plan.images,
        "budget": 0 if label in CONTROL_ORDERS else plan.budget,
        "fid": found.value,
        "fid_se": found.standard_error or math.nan,
        "test_images": plan.test_images,
        "precision": plan.precision,
        "device": torch.cuda.get_device_name() if device() == "cuda" else "CPU",
        "strategy": json.dumps(strategy.to_json()),
    }


def table(rows: pd.DataFrame) -> str:
    """One line for each control and for each kind of search, with the mean over seeds.

    A search's `images` are those of its own, or a whole number of thousands at an earlier mark.
    """
    rows = rows.copy()
    own = rows["label"].str.startswith("controls")
    order = rows["label"].str.removeprefix("controls")
    rows.loc[own, "label"] = rows.loc[own, "name"] + order[own]
    rows.loc[own, "images_per_evaluation"] = 0
    rows.loc[own, "metric"] = "-"
    rows["images"] = rows["images"].round(-3)
    by = ["size", "steps", "images", "images_per_evaluation", "metric", "label"]
    found = rows.groupby(by)["fid"].agg(["mean", "sem", "min", "max", "count"]).reset_index()
    return found.sort_values([*by[:3], "mean"]).round(2).to_string(index=False)


def evaluations(folder: Path) -> Iterator[Row]:
    """Every evaluation of the searches in a folder."""
    for file in sorted(folder.glob("*.db")):
        for done in Record.open(f"sqlite:///{file.resolve()}", file.stem).evaluations:
            measured = done.measurement
            yield {
                "name": file.stem,
                "number": done.probe.number,
                "role": done.probe.role,
                "seed": done.probe.seed,
                "images": done.images,
                "fid": None if measured is None else measured.value,
                "fid_se": None if measured is None else measured.standard_error,
                "strategy": json.dumps(done.probe.strategy.to_json()),
            }


def draw(rows: pd.DataFrame, out: Path) -> None:
    """Draw letters of the rule of thumb and of the best search at T = 8, and of the best control at
    T = 16, above real ones."""
    import matplotlib.pyplot as plt

    own = rows["label"].str.startswith("controls")
    searched = rows[~own & (rows["steps"] == SHOWN_STEPS)]
    controls = rows[rows["label"].isin(CONTROL_ORDERS) & (rows["steps"] == 2 * SHOWN_STEPS)]
    rule = rows[(rows["label"] == "controls") & (rows["name"] == "rule of thumb")]
    rule = rule[rule["steps"] == SHOWN_STEPS]
    if min(len(searched), len(controls), len(rule)) == 0:
        raise ValueError(f"expected searches of T = {SHOWN_STEPS} and controls of T and 2 T")
    best, control = (some.loc[some["fid"].idxmin()] for some in (searched, controls))
    twice = control["name"] + control["label"].removeprefix("controls")
    objective = LettersObjective(size=best["size"])
    objective.prepare(out.parent, lambda *_: None)
    shown = [
        (f"rule of thumb, T = {SHOWN_STEPS}", rule.iloc[0]),
        (f"found by {best['label']}, T = {SHOWN_STEPS}", best),
        (f"best control: {twice}, T = {2 * SHOWN_STEPS}", control),
    ]
    strips = []
    for title, row in shown:
        strategy = GenerationStrategy.from_json(json.loads(row["strategy"]))
        made = objective.class_grid(strategy, 36, 3, 0).images
        strips.append((f"{title}: FID {row['fid']:.2f} ± {row['fid_se']:.2f}", made))
    real = objective.real_grid(36, 3)
    if real is not None:
        strips.append(("real letters, as the tokens give them back", real.images))
    figure, axes = plt.subplots(len(strips), 1, figsize=(12, 5.2), dpi=130)
    for axis, (title, images) in zip(axes, strips, strict=True):
        axis.imshow(np.concatenate(np.concatenate(images, axis=1), axis=1), cmap="gray")
        axis.set_title(title, fontsize=9, loc="left")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main()
