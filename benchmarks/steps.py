"""Several T: a series of searches that learn from each other, against searches of their own.

    python -m benchmarks.steps run --out FOLDER              # hours; run it again to resume
    python -m benchmarks.steps table benchmarks/steps-digits.parquet
    python -m benchmarks.steps picture benchmarks/steps-digits.parquet docs/steps-digits.png

Every search is a record in FOLDER. What each found is measured with n = 10,000 images on a seed
that no search uses, beside all controls of the same T. It needs no Ray.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from benchmarks.kept_rows import Row, read_rows, require_same_plan, rows_of_tasks, run_command
from search.controls import CONTROLS
from search.earlier import EarlierSearch
from search.optimiser import Budget, Evaluated
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.description import describe
from trials.objectives.objective import Objective, load_objective
from trials.objectives.preparing import prepare
from trials.record.record import Record
from trials.record.studies import study_names
from trials.runners.local_runner import run_local
from trials.runners.study import Study

FINAL_SEED, TEST_IMAGES = 1001, 10_000
SERIES, ALONE, THRICE = "series", "alone", "alone, three times the images"
ONE_PASS = "series, one pass a step"
"""Searches that may not use guidance, so that T steps cost T forward passes."""
ARMS = (SERIES, ALONE, THRICE, ONE_PASS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run the searches that are missing")
    run.add_argument("--objective", default="digits")
    run.add_argument("--steps", type=int, nargs="+", default=[2, 4, 8, 16])
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, metavar="ARM")
    run.add_argument("--images", type=int, default=250)
    run.add_argument("--budget", type=int, default=6750, help="images of each search")
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--out", type=Path, required=True)
    run.set_defaults(command=run_all)
    run_command(parser, commands, table, draw)


def run_all(given: argparse.Namespace) -> None:
    """Run every arm that is missing, and write rows.parquet and the table."""
    same = ("objective", "steps", "images", "budget")
    require_same_plan(given.out, {name: getattr(given, name) for name in same})
    kept = given.out / "rows.jsonl"
    done = {(row["arm"], row["seed"]) for row in read_rows(kept)}
    tasks = [("controls", 0), *((arm, seed) for seed in given.seeds for arm in given.arms)]
    # The model is trained once, before several processes would do it at the same time.
    _objective(given.objective, given.out)
    measure = functools.partial(_task, given)
    missing = [task for task in tasks if task not in done]
    rows = rows_of_tasks(kept, missing, measure, given.processes)
    frame = pd.DataFrame(rows)
    frame.to_parquet(given.out / "rows.parquet")
    print(table(frame))


def _objective(name: str, folder: Path) -> Objective:
    torch.set_num_threads(1)
    made = load_objective(name, {})
    prepare(made, folder, lambda *_: None)
    return made


def _task(given: argparse.Namespace, task: tuple[str, int]) -> list[Row]:
    """The rows of the controls, or of the searches of one arm and seed."""
    arm, seed = task
    objective = _objective(given.objective, given.out)
    if arm == "controls":
        return [*_controls(objective, sorted(given.steps))]
    earlier: list[EarlierSearch] = []
    rows = []
    for steps in sorted(given.steps):
        images = given.budget * (3 if arm == THRICE else 1)
        name = f"{arm.replace(', ', '-').replace(' ', '-')}-T{steps}-s{seed}"
        most = steps if arm == ONE_PASS else None
        space = Space(GenerationStrategy.maskgit(steps), max_forward_passes=most)
        budget = Budget(images, given.images)
        made = make_optimiser(
            *("coarse-to-fine", space, budget, seed),
            tokens=objective.tokens,
            earlier=earlier if arm in (SERIES, ONE_PASS) else (),
        )
        record = _record(given, name, space, objective)
        run_local(Study(made, record, space, budget.evaluations, lambda _: None), objective)
        best = record.best()
        if best is None:
            raise ValueError(f"{name}: nothing was measured")
        measured = [
            Evaluated(done.probe.strategy, done.measurement.value, done.probe.seed)
            for done in record.evaluations
            if done.measurement is not None
        ]
        earlier.append(EarlierSearch(space, best.strategy, measured))
        rows.append(_tested(objective, arm, name, steps, seed, best.strategy) | {"images": images})
    return rows


def _record(given: argparse.Namespace, name: str, space: Space, objective: Objective) -> Record:
    """The record of a search, which is resumed where it exists."""
    url = f"sqlite:///{given.out.resolve() / name}.db"
    if name in study_names(url):
        return Record.open(url, name)
    told = {
        **describe(given.objective, {}, objective),
        "kind": "search",
        "search_name": name,
        "optimiser": "coarse-to-fine",
        "space": space.to_json(),
    }
    return Record.create(url, name, told)


def _controls(objective: Objective, lengths: list[int]) -> Iterator[Row]:
    tested: list[GenerationStrategy] = []
    for steps in lengths:
        for name, control in CONTROLS.items():
            strategy = control(steps)
            if strategy.steps == steps and strategy not in tested:
                tested.append(strategy)
                yield _tested(objective, "controls", name, steps, 0, strategy) | {"images": 0}


def _tested(
    objective: Objective, arm: str, name: str, steps: int, seed: int, strategy: GenerationStrategy
) -> Row:
    found = objective.evaluate(strategy, TEST_IMAGES, FINAL_SEED)
    return {
        "arm": arm,
        "name": name,
        "steps": steps,
        "seed": seed,
        "fid": found.value,
        "fid_se": found.standard_error,
        "test_images": TEST_IMAGES,
        "passes": strategy.forward_passes(),
        "strategy": json.dumps(strategy.to_json()),
    }


def table(rows: pd.DataFrame) -> str:
    """One line for each T and arm, with the mean over seeds; of controls, the best and the rule of
    thumb."""
    controls = rows[rows["arm"] == "controls"]
    best = controls.loc[controls.groupby("steps")["fid"].idxmin()].assign(arm="best control")
    rule = controls[controls["name"] == "rule of thumb"].assign(arm="rule of thumb")
    every = pd.concat([rows[rows["arm"] != "controls"], best, rule])
    found = every.groupby(["steps", "arm"]).agg(
        images=("images", "first"),
        mean=("fid", "mean"),
        error=("fid", "sem"),
        each=("fid", lambda values: ", ".join(f"{value:.2f}" for value in values)),
        passes=("passes", lambda values: ", ".join(str(value) for value in values)),
    )
    return found.round(3).to_string()


def draw(rows: pd.DataFrame, out: Path) -> None:
    """Draw FID against forward passes: each found strategy, and the controls of each T."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 4.4), dpi=130)
    controls = rows[rows["arm"] == "controls"]
    best = controls.loc[controls.groupby("steps")["fid"].idxmin()]
    rule = controls[controls["name"] == "rule of thumb"]
    for label, of, line in (("rule of thumb", rule, ":"), ("best control", best, "--")):
        axis.plot(of["passes"], of["fid"], f"o{line}", color="#7d828a", label=label, ms=4)
    for arm, colour in ((SERIES, "#0072b2"), (ONE_PASS, "#d55e00")):
        found = rows[rows["arm"] == arm]
        means = found.groupby("steps")[["passes", "fid"]].mean()
        axis.plot(means["passes"], means["fid"], "-", color=colour, label=f"found: {arm}")
        axis.plot(found["passes"], found["fid"], "o", color=colour, ms=4)
        for steps, row in means.iterrows():
            where = (row["passes"], row["fid"])
            axis.annotate(f"T = {steps}", where, (4, 6), textcoords="offset points")
    axis.set(xscale="log", yscale="log", xlabel="forward passes per image", ylabel="FID")
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter("{x:g}")
        one.set_minor_formatter("{x:g}")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main()
