"""Compares the noise of an objective's FID with that of the simulated objectives.

    python -m benchmarks.noise                # takes minutes; T = 8, n = 250, 40 seeds

For a few strategies it measures the spread of log FID over seeds, the correlation with a neighbour
measured with the same seeds, and the bias of n against 4n. It writes benchmarks/noise.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from search.controls import CONTROLS
from search.strategy import GenerationStrategy
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare
from trials.progress import LiveProgress

HERE = Path(__file__).parent
RESULTS = HERE / "noise.json"
STRATEGIES = ("rule of thumb", "more remask noise", "random order")
FIRST_SEED = 5000


def neighbour(strategy: GenerationStrategy) -> GenerationStrategy:
    """Return a neighbour: sampling temperatures 2 % higher, remask temperatures 5 % higher."""
    return replace(
        strategy,
        sampling_temperature=tuple(1.02 * v for v in strategy.sampling_temperature),
        remask_temperature=tuple(1.05 * v for v in strategy.remask_temperature),
    )


def main(
    objectives: str = "digits,simulated,tabulated",
    steps: int = 8,
    images: int = 250,
    seeds: int = 40,
    lab: Path = HERE / "lab",
) -> None:
    """Measure the noise, print it, and write it to the file."""
    lines: list[dict[str, object]] = []
    with LiveProgress() as progress:
        for name in objectives.split(","):
            objective = load_objective(name, {})
            prepare(objective, lab, progress.report(f"preparing {name}"))
            for label in STRATEGIES:
                strategy = CONTROLS[label](steps)
                pairs, large = [], []
                for i in range(seeds):
                    seed = FIRST_SEED + i
                    pairs.append(
                        [
                            objective.evaluate(s, images, seed).value
                            for s in (strategy, neighbour(strategy))
                        ]
                    )
                    if i % 8 == 0:
                        large.append(objective.evaluate(strategy, 4 * images, seed).value)
                    progress.update(name, i + 1, seeds, label)
                logs = np.log(np.array(pairs))
                fids = np.array(pairs)[:, 0]
                lines.append(
                    {
                        "objective": name,
                        "strategy": label,
                        "fid": float(fids.mean()),
                        "spread of log FID": float(logs[:, 0].std(ddof=1)),
                        "correlation at the neighbour": float(np.corrcoef(logs.T)[0, 1]),
                        "spread of the difference": float((logs[:, 1] - logs[:, 0]).std(ddof=1)),
                        "FID(n) - FID(4n)": float(fids.mean() - np.mean(large)),
                    }
                )
                print(json.dumps(lines[-1]))
    measured = {line["objective"] for line in lines}
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = [line for line in known if line["objective"] not in measured]
    RESULTS.write_text(json.dumps(kept + lines, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(typer.run(main))
