"""Compares independent noise on confidences with noise that is spread evenly over the image.

    python -m benchmarks.even_noise digits letters letters-large     # run it again to resume

Strategies that coarse-to-fine found with independent noise, and the best control, are measured
under common seeds that no choice had seen, with both token orders, `confidence` and
`confidence-spread`, and nothing else changed.
Each row is written at once to benchmarks/even-noise.parquet.
"""

from __future__ import annotations

import ast
import itertools
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import typer

from benchmarks.gradients import BEST_CONTROL, HERE, WITH, WITHOUT, Rows
from models.token_orders import EVENNESS
from search.controls import CONTROLS
from search.strategy import GenerationStrategy
from trials.objectives.objective import Objective, load_objective
from trials.objectives.preparing import prepare

ORDERS = ("confidence", "confidence-spread")
FOUND_BY = (WITH, WITHOUT)
MOST = 3
SEEDS = (11, 12)


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        objective: its name.
        settings: of the objective.
        file: the rows of searches.
        columns: of the method of a row, and of the FID by which the lowest are taken.
        steps: T.
        images: n of a measurement.
    """

    objective: str
    settings: dict[str, str]
    file: str
    columns: tuple[str, str]
    steps: int
    images: int

    def strategies(self) -> dict[str, GenerationStrategy]:
        """The best control, and the lowest of each of the MOST best searches, by name."""
        rows, (method, fid) = pd.read_parquet(HERE / self.file), self.columns
        rows = rows[rows[method].isin(FOUND_BY)].sort_values(fid)
        if "steps" in rows:
            rows = rows[rows["steps"] == self.steps]
        found = {BEST_CONTROL: CONTROLS[BEST_CONTROL](self.steps)}
        for row in rows.drop_duplicates([method, "seed"]).head(MOST).to_dict("records"):
            text = row["strategy"]
            read = json.loads(text) if text.startswith('{"') else ast.literal_eval(text)
            name = f"{row[method]}, seed {row['seed']}"
            found[name] = GenerationStrategy.from_json(read)
        return found


LARGE = {"size": "large", "precision": "bfloat16"}
LARGE_FILE, LARGE_COLUMNS = "letters-large.parquet", ("label", "fid")
SMALL_COLUMNS = ("method", "fid_1001")
CASES = {
    "digits": (Case("digits", {}, "gradients-digits-T8.parquet", SMALL_COLUMNS, 8, 10_000),),
    "letters": (Case("letters", {}, "gradients-letters-T4.parquet", SMALL_COLUMNS, 4, 2880),),
    "letters-large": (
        Case("letters", LARGE, LARGE_FILE, LARGE_COLUMNS, 4, 2016),
        Case("letters", LARGE, LARGE_FILE, LARGE_COLUMNS, 8, 2016),
    ),
}


def main(names: list[str], lab: Path = HERE / "lab") -> None:
    """Measure the strategies of one or more of: digits, letters, letters-large."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is unknown; known: {', '.join(CASES)}")
    torch.set_num_threads(1)
    rows = Rows("even-noise.parquet")
    for name in names:
        for case in CASES[name]:
            objective = load_objective(case.objective, case.settings)
            prepare(objective, lab, lambda *_: None)
            measure(rows, name, case, objective)
    table = pd.DataFrame(rows.rows)
    table["change"] = table[ORDERS[1]] - table[ORDERS[0]]
    print(table.drop(columns="strategy").round(3).to_string())


def measure(rows: Rows, name: str, case: Case, objective: Objective) -> None:
    """Add the rows that are missing."""
    for (label, strategy), seed in itertools.product(case.strategies().items(), SEEDS):
        told = {"case": name, "images": case.images, "seed": seed, "evenness": EVENNESS}
        told |= {"strategy": json.dumps(strategy.to_json())}
        if rows.has(**told):
            continue
        found: dict[str, float] = {}
        for order in ORDERS:
            measured = objective.evaluate(replace(strategy, token_order=order), case.images, seed)
            found |= {order: measured.value, f"{order}_se": measured.standard_error or 0.0}
        rows.add(steps=case.steps, name=label, **told, **found)


if __name__ == "__main__":
    sys.exit(typer.run(main))
