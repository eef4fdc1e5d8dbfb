"""Compares independent noise on confidences with noise that is spread evenly over the image.

    python -m benchmarks.even_noise digits letters letters-large     # run it again to resume

Strategies that searches found with independent noise, and the best control, are measured under
common seeds with both token orders, `confidence` and `confidence-spread`, and nothing else changed.
Each row is written at once to benchmarks/even-noise.parquet.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import typer

from benchmarks.gradients import BEST_CONTROL, HERE, Rows
from search.controls import CONTROLS
from search.strategy import GenerationStrategy
from trials.objectives.nat_objective import NATObjective
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare

ORDERS = ("confidence", "confidence-spread")
MOST = 4


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        objective: its name.
        settings: of the objective.
        file: the rows of searches.
        fid: the column by which the lowest are taken.
        steps: T.
        images: n of a measurement.
        seeds: of the measurements.
    """

    objective: str
    settings: dict[str, str]
    file: str
    fid: str
    steps: int
    images: int
    seeds: tuple[int, ...]

    def strategies(self) -> dict[str, GenerationStrategy]:
        """The best control, and the MOST lowest of the searches."""
        rows = pd.read_parquet(HERE / self.file)
        if "steps" in rows:
            rows = rows[(rows["steps"] == self.steps) & (rows["label"] != "controls")]
        rows = rows[~rows["strategy"].str.contains(ORDERS[1])].sort_values(self.fid)
        found = {BEST_CONTROL: CONTROLS[BEST_CONTROL](self.steps)}
        for text in rows["strategy"].drop_duplicates().head(MOST):
            read = json.loads(text) if text.startswith('{"') else ast.literal_eval(text)
            found[f"found {len(found)}"] = GenerationStrategy.from_json(read)
        return found


LARGE = {"size": "large", "precision": "bfloat16"}
LARGE_FILE = "letters-large.parquet"
CASES = {
    "digits": (Case("digits", {}, "gradients-digits-T8.parquet", "fid_1001", 8, 10_000, (7,)),),
    "letters": (Case("letters", {}, "gradients-letters-T4.parquet", "fid_1001", 4, 2880, (7, 8)),),
    "letters-large": (
        Case("letters", LARGE, LARGE_FILE, "fid", 4, 2016, (7,)),
        Case("letters", LARGE, LARGE_FILE, "fid", 8, 2016, (7,)),
    ),
}


def main(names: list[str], lab: Path = HERE / "lab") -> None:
    """Measure the strategies of digits, letters and letters-large with both noises."""
    torch.set_num_threads(1)
    rows = Rows("even-noise.parquet")
    for name in names:
        if name not in CASES:
            raise typer.BadParameter(f"{name} is unknown; known: {', '.join(CASES)}")
        for case in CASES[name]:
            objective = load_objective(case.objective, case.settings)
            if not isinstance(objective, NATObjective):
                raise ValueError(f"expected digits or letters, got {case.objective}")
            prepare(objective, lab, lambda *_: None)
            measure(rows, name, case, objective)
    table = pd.DataFrame(rows.rows)
    table["change"] = table[ORDERS[1]] - table[ORDERS[0]]
    print(table.drop(columns="strategy").round(3).to_string())


def measure(rows: Rows, name: str, case: Case, objective: NATObjective) -> None:
    """Add the rows that are missing."""
    for label, strategy in case.strategies().items():
        for seed in case.seeds:
            told = {"case": name, "steps": case.steps, "name": label, "seed": seed}
            if rows.has(**told):
                continue
            found: dict[str, float] = {}
            for order in ORDERS:
                measured = objective.evaluate(
                    replace(strategy, token_order=order), case.images, seed
                )
                found |= {order: measured.value, f"{order}_se": measured.standard_error or 0.0}
            kept = json.dumps(strategy.to_json())
            rows.add(**told, images=case.images, **found, strategy=kept)


if __name__ == "__main__":
    sys.exit(typer.run(main))
