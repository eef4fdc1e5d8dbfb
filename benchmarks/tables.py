"""Compares all optimisers on the tabulated and the simulated objective, with many seeds.

    python -m benchmarks.tables --budget 20000 --seeds 20      # run it again to resume
    python -m benchmarks.tables --objectives simulated --controls-first

No images are generated, so many seeds take only minutes, and the true FID of a result is known. It
writes benchmarks/tables-*.parquet, with a row for each search and number of images (the true FID at
n = 10,000 of the best so far), and tables-*.html (median and quartiles), and prints the final FIDs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from benchmarks.curves import curves
from search.optimiser import Budget
from search.registry import OPTIMISERS, PARETO, make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.objective import load_objective
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.tabulated import TabulatedObjective
from trials.progress import LiveProgress
from trials.record.record import Record
from trials.record.studies import study_names
from trials.runners.local_runner import run_local
from trials.runners.study import Study

HERE = Path(__file__).parent
IMAGES, TRUE_IMAGES = 250, 10_000
Known = SimulatedObjective | TabulatedObjective
"""Objectives whose true FID is known."""


@dataclass(frozen=True)
class Case:
    """One search of the comparison."""

    objective: str
    steps: int
    budget: int
    optimiser: str
    seed: int
    controls_first: bool

    @property
    def label(self) -> str:
        """The label of the method in tables."""
        return f"{self.optimiser}, controls first" if self.controls_first else self.optimiser

    @property
    def study(self) -> str:
        """The name of the study."""
        where = f"{self.objective}-T{self.steps}-{self.budget}"
        first = "first-" if self.controls_first else ""
        return f"{where}-s{self.seed}-{first}{self.optimiser}"


def main(
    budget: int = 20_000,
    seeds: int = 20,
    steps: int = 8,
    objectives: str = "tabulated,simulated",
    optimisers: str = ",".join(n for n in OPTIMISERS if n != PARETO),
    controls_first: bool = False,
) -> None:
    """Run the missing searches, then write the table and the curves.

    With --controls-first, every method first measures the controls, as coarse-to-fine always does.
    """
    rows: list[pd.DataFrame] = []
    with LiveProgress() as progress:
        for name in objectives.split(","):
            objective = load_objective(name, {})
            if not isinstance(objective, Known):
                raise ValueError(f"objective {name}: expected one whose true FID is known")
            for optimiser in optimisers.split(","):
                for seed in range(seeds):
                    case = Case(name, steps, budget, optimiser, seed, controls_first)
                    rows.append(curve(objective, searched(objective, case), case))
                    progress.update(f"{name} {optimiser}", seed + 1, seeds, "")
    ending = f"T{steps}-{budget // 1000}k"
    found = with_former_rows(pd.concat(rows, ignore_index=True), HERE / f"tables-{ending}.parquet")
    found.to_parquet(HERE / f"tables-{ending}.parquet")
    pages = [
        curves(
            part.rename(columns={"optimiser": "label", "seed": "run"}),
            f"{name}, T = {steps}: median and quartiles over seeds (how many)",
            f"true FID at n = {TRUE_IMAGES:,}",
        ).to_html(full_html=False, include_plotlyjs=i == 0)
        for i, (name, part) in enumerate(found.groupby("objective"))
    ]
    (HERE / f"tables-{ending}.html").write_text("\n".join(pages), encoding="utf-8")
    ends = found.groupby(["objective", "optimiser", "seed"]).last().reset_index()
    table = ends.groupby(["objective", "optimiser"])["fid"].describe()
    table = table[["count", "mean", "std", "25%", "50%", "75%"]]
    table["se"] = table["std"] / np.sqrt(table["count"])
    print(table.round(3).to_string())


def with_former_rows(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows, and those of other searches in a former table."""
    if not path.exists():
        return rows
    keys, former = ["objective", "optimiser", "seed"], pd.read_parquet(path)
    again = pd.MultiIndex.from_frame(former[keys]).isin(pd.MultiIndex.from_frame(rows[keys]))
    return pd.concat([rows, former[~again]], ignore_index=True)


def searched(objective: Known, case: Case) -> Record:
    """Return the record of a search; run the search if it is not complete."""
    url = f"sqlite:///{HERE / 'tables.db'}"
    known = case.study in study_names(url)
    record = Record.open(url, case.study) if known else Record.create(url, case.study, {})
    if sum(done.images for done in record.evaluations) > case.budget - IMAGES:
        return record
    space, spend = Space(GenerationStrategy.maskgit(case.steps)), Budget(case.budget, IMAGES)
    made = make_optimiser(
        case.optimiser, space, spend, case.seed, None, objective.tokens, case.controls_first
    )
    run_local(Study(made, record, space, spend.evaluations, lambda _: None), objective)
    return record


def curve(objective: Known, record: Record, case: Case) -> pd.DataFrame:
    """Return the true FID of the result of a search, over the images generated so far."""
    lowest, spent, points = np.inf, 0, []
    for done in record.evaluations:
        spent += done.images
        if done.measurement is not None and done.measurement.value < lowest:
            lowest = done.measurement.value
            points.append((spent, objective.truth(done.probe.strategy, TRUE_IMAGES)))
    best = record.best()
    if best is not None:
        points.append((case.budget, objective.truth(best.strategy, TRUE_IMAGES)))
    frame = pd.DataFrame(points, columns=["images", "fid"])
    return frame.assign(objective=case.objective, optimiser=case.label, seed=case.seed)


if __name__ == "__main__":
    sys.exit(typer.run(main))
