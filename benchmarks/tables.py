"""Every optimiser at equal images on the tabulated and the simulated objective, many seeds.

    python -m benchmarks.tables --budget 20000 --seeds 20      # run it again and it goes on

Nothing is generated, so that many seeds cost minutes; the true FID of what a search believes in is
known. It writes benchmarks/tables.parquet (one row a search and number of images: the true FID at
n = 10,000 of the best so far), benchmarks/tables.html (median and quartiles), and prints the ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import typer

from search.optimiser import Budget
from search.registry import OPTIMISERS, PARETO, make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.local_runner import run_local
from trials.objective import load_objective
from trials.progress import LiveProgress
from trials.record import Record, study_names
from trials.simulated import SimulatedObjective
from trials.study import Study
from trials.tabulated import TabulatedObjective

HERE = Path(__file__).parent
STEPS, IMAGES, TRUE_IMAGES = 8, 250, 10_000
SLOW = ("gp",)
"""Left out unless asked for: Optuna's GP takes minutes a search."""


def main(
    budget: int = 20_000,
    seeds: int = 20,
    objectives: str = "tabulated,simulated",
    optimisers: str = ",".join(n for n in OPTIMISERS if n not in (PARETO, *SLOW)),
) -> None:
    """Run what is missing, then write the table and the curves."""
    rows: list[pd.DataFrame] = []
    url = f"sqlite:///{HERE / 'tables.db'}"
    with LiveProgress() as progress:
        for name in objectives.split(","):
            objective = load_objective(name, {})
            if not isinstance(objective, SimulatedObjective | TabulatedObjective):
                raise ValueError(f"objective {name} does not know its truth")
            for optimiser in optimisers.split(","):
                for seed in range(seeds):
                    record = searched(url, objective, name, optimiser, budget, seed)
                    rows.append(curve(objective, record, name, optimiser, budget, seed))
                    progress.update(f"{name} {optimiser}", seed + 1, seeds, "")
    found = pd.concat(rows, ignore_index=True)
    found.to_parquet(HERE / "tables.parquet")
    draw(found, HERE / "tables.html")
    ends = found.groupby(["objective", "optimiser", "seed"]).last().reset_index()
    table = ends.groupby(["objective", "optimiser"])["fid"].describe()
    table = table[["count", "mean", "std", "25%", "50%", "75%"]]
    table["se"] = table["std"] / np.sqrt(table["count"])
    print(table.round(3).to_string())


def searched(
    url: str,
    objective: SimulatedObjective | TabulatedObjective,
    name: str,
    optimiser: str,
    budget: int,
    seed: int,
) -> Record:
    """The record of a search, run where it is not complete."""
    study = f"{name}-T{STEPS}-{budget}-s{seed}-{optimiser}"
    known = study in study_names(url)
    record = Record.open(url, study) if known else Record.create(url, study, {})
    if sum(done.images for done in record.evaluations) > budget - IMAGES:
        return record
    space, spend = Space(GenerationStrategy.maskgit(STEPS)), Budget(budget, IMAGES)
    made = make_optimiser(optimiser, space, spend, seed, tokens=objective.tokens)
    source = Study(made, record, space, spend.evaluations, lambda _: None)
    run_local(source, objective)
    return record


def curve(
    objective: SimulatedObjective | TabulatedObjective,
    record: Record,
    name: str,
    optimiser: str,
    budget: int,
    seed: int,
) -> pd.DataFrame:
    """The true FID of what a search would have handed back, over the images it had generated."""
    lowest, spent, points = np.inf, 0, []
    for done in record.evaluations:
        spent += done.images
        if done.measurement is not None and done.measurement.fid < lowest:
            lowest = done.measurement.fid
            points.append((spent, objective.truth(done.probe.strategy, TRUE_IMAGES)))
    best = record.best()
    if best is not None:
        points.append((budget, objective.truth(best.strategy, TRUE_IMAGES)))
    frame = pd.DataFrame(points, columns=["images", "fid"])
    return frame.assign(objective=name, optimiser=optimiser, seed=seed)


def draw(found: pd.DataFrame, path: Path) -> None:
    """Median and quartiles over seeds, one figure an objective."""
    pages = []
    grid = np.linspace(0, found["images"].max(), 60)
    for name, part in found.groupby("objective"):
        figure = go.Figure()
        for optimiser, runs in part.groupby("optimiser"):
            steps = [
                np.interp(grid, run["images"], run["fid"], left=np.nan)
                for _, run in runs.groupby("seed")
            ]
            low, middle, high = np.nanpercentile(np.stack(steps)[:, 1:], [25, 50, 75], axis=0)
            band = go.Scatter(
                x=[*grid[1:], *grid[:0:-1]],
                y=[*high, *low[::-1]],
                fill="toself",
                opacity=0.15,
                line_width=0,
                showlegend=False,
                hoverinfo="skip",
            )
            figure.add_traces([band, go.Scatter(x=grid[1:], y=middle, name=str(optimiser))])
        figure.update_layout(
            title=f"{name}, T = {STEPS}, {part['seed'].nunique()} seeds: median and quartiles",
            xaxis_title="images",
            yaxis_title=f"true FID at n = {TRUE_IMAGES}",
        )
        pages.append(figure.to_html(full_html=False, include_plotlyjs=not pages))
    path.write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(typer.run(main))
