"""What is worth what: optimisers, on values or curves, from the rule of thumb or the controls.

    python -m benchmarks.ablation --seeds 4          # run it again to resume
    python -m benchmarks.ablation --optimisers cmaes,gp --coordinates curves --seeds 2

Each search has the same number of evaluations on the simulated objective, whose true FID is known.
Each search that is done becomes a row of benchmarks/ablation-T*.parquet at once. At the end the
table of all rows is printed: the mean true FID (n = 10,000) of the results, and its standard error
over seeds. coarse-to-fine has coordinates of its own. The optimisers qlognei and smac need the
extras botorch and smac.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import typer

from benchmarks.search_alone import search_alone
from search.files import write_whole
from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective

HERE = Path(__file__).parent
IMAGES, TRUE_IMAGES = 250, 10_000
STARTS = ("rule of thumb", "controls")
OURS = "coarse-to-fine"


@dataclass(frozen=True)
class Case:
    """One search.

    Attributes:
        optimiser: the name of the optimiser.
        coordinates: the numbers that it searches.
        start: one of STARTS: what is measured first.
        seed: the seed of the search.
        evaluations: how many evaluations of IMAGES images it has.
    """

    optimiser: str
    coordinates: str
    start: str
    seed: int
    evaluations: int


def main(
    optimisers: str = f"{OURS},cmaes,gp,qlognei",
    coordinates: str = "values,coarse",
    starts: str = ",".join(STARTS),
    seeds: int = 4,
    evaluations: int = 80,
    steps: int = 8,
) -> None:
    """Run the missing searches, seed by seed, and print the table of all."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = HERE / f"ablation-T{steps}.parquet"
    rows = [] if not path.exists() else pd.read_parquet(path).to_dict("records")
    done = {Case(**{key: row[key] for key in Case.__annotations__}) for row in rows}
    arms = [*itertools.product(*(text.split(",") for text in (optimisers, coordinates, starts)))]
    for seed in range(seeds):
        for arm in arms:
            case = Case(*arm, seed, evaluations)
            if case.optimiser == OURS:
                case = Case(OURS, "coarse to curves", case.start, seed, evaluations)
            if case not in done:
                done.add(case)
                rows.append(searched(case, steps))
                with write_whole(path) as partial:
                    pd.DataFrame(rows).to_parquet(partial)
                print(rows[-1], flush=True)
    print(table(pd.DataFrame(rows)).to_string())


def searched(case: Case, steps: int) -> dict[str, Any]:
    """Run a search, and return its row: the case, what it found, and the seconds of one core."""
    objective, space = SimulatedObjective(), Space(GenerationStrategy.maskgit(steps))
    budget, began = Budget(case.evaluations * IMAGES, IMAGES), time.process_time()
    first = case.start == "controls"
    if case.optimiser == OURS:
        own: dict[str, Any] = {"begin_with_controls": first}
    else:
        own = {"coordinates": case.coordinates}
    made = make_optimiser(case.optimiser, space, budget, case.seed, own, objective.tokens, first)
    best = search_alone(made, space, case.evaluations, objective)
    return {
        **asdict(case),
        "believed": best.value,
        "fid": objective.truth(best.strategy, TRUE_IMAGES),
        "seconds": time.process_time() - began,
    }


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean true FID of each arm, its standard error, and the mean seconds."""
    arms = rows.groupby(["evaluations", "optimiser", "coordinates", "start"])
    found = arms["fid"].agg(["count", "mean", "sem", "min", "max"])
    return found.assign(seconds=arms["seconds"].mean()).round(3)


if __name__ == "__main__":
    sys.exit(typer.run(main))
