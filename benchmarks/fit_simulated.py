"""Fits the landscape of the simulated objective to a table of real evaluations.

    python -m benchmarks.fit_simulated digits-T8        # takes a minute

It writes trials/objectives/tables/simulated.json. Levels, slopes and bends of the four schedules
get a full quadratic form; finer orders get one curvature per schedule. The surrogate of the table
gives the best strategy and points around it; the noise is that of digits, as benchmarks/noise.py
measures it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import typer
from scipy.optimize import least_squares, minimize
from scipy.stats import spearmanr

from search.bound import Vector
from search.controls import CONTROLS
from search.surrogate import Noise
from trials.objectives.simulated import FINEST, LANDSCAPE, coarse, radial
from trials.objectives.tabulated import TabulatedObjective, read_table

NEARBY = 800
NOISE = Path(__file__).parent / "noise.json"


def main(table: str = typer.Argument("digits-T8"), out: Path = LANDSCAPE) -> None:
    """Fit the landscape, and print the quality of the fit."""
    surrogate, space, _ = read_table(table)
    objective, coordinates = TabulatedObjective(table=table), surrogate.coordinates
    images, steps = surrogate.images, space.start.steps

    def log_fid(x: Vector) -> float:
        return float(np.log(objective.truth(coordinates.to_strategy(x), images)))

    measured = np.array([surrogate.log_fid(x) for x in surrogate.x])
    reach = np.where(coordinates.order == 0, 1.0, 0.8 / np.maximum(coordinates.order, 1))
    found = minimize(
        surrogate.log_fid,
        surrogate.x[measured.argmin()],
        method="L-BFGS-B",
        bounds=list(zip(-reach, reach, strict=True)),
        options={"maxiter": 30},
    )
    rng = np.random.default_rng(0)
    widths = rng.choice([0.1, 0.3, 0.5], size=(NEARBY, 1)) * reach
    near = np.clip(found.x + rng.normal(size=(NEARBY, len(reach))) * widths, -reach, reach)
    plain = {name: c(steps) for name, c in CONTROLS.items() if c(steps).steps == steps}
    controls = np.stack([coordinates.from_strategy(strategy) for strategy in plain.values()])
    x = np.vstack([near, surrogate.x, np.repeat(controls, 100, axis=0)])
    y = np.array([log_fid(row) for row in near])
    y = np.concatenate([y, measured, np.repeat([surrogate.log_fid(row) for row in controls], 100)])

    parts = coarse(coordinates)
    size = len(parts)
    lower = np.tril_indices(size)
    finer = [
        (coordinates.schedule == i) & (coordinates.order > FINEST)
        for i in range(len(coordinates.schedules))
    ]
    fine = np.stack([(x[:, mask] ** 2).sum(1) for mask in finer], axis=1)

    def unpack(p: Vector) -> tuple[Vector, Vector, Vector, float]:
        root = np.zeros((size, size))
        root[lower] = p[size:-5]
        return p[:size], root, np.exp(p[-5:-1]), float(np.exp(p[-1]))

    def misfit(p: Vector) -> Vector:
        best, root, fine_curvature, scale = unpack(p)
        q = (((x[:, parts] - best) @ root) ** 2).sum(1) + fine @ fine_curvature
        return np.concatenate(
            [radial(q, floor, scale) - y, 0.05 * p[size:-6], p[:size] - found.x[parts]]
        )

    floor = float(found.fun)
    start = np.concatenate([found.x[parts], np.eye(size)[lower], np.full(4, -3.0), [-1.0]])
    fit = least_squares(misfit, start, loss="soft_l1", f_scale=0.1)
    best, root, fine_curvature, scale = unpack(fit.x)
    residuals = misfit(fit.x)[: len(y)]
    for name, rows in (
        ("near", slice(0, NEARBY)),
        ("measured", slice(NEARBY, NEARBY + len(measured))),
    ):
        share = 1 - residuals[rows].var() / y[rows].var()
        order = spearmanr(y[rows], y[rows] + residuals[rows]).statistic
        print(f"{name}: R2 {share:.2f}, rank correlation {order:.2f}")
    for name, row in zip(plain, range(len(controls)), strict=True):
        at = NEARBY + len(measured) + 100 * row
        print(f"{name}: {np.exp(y[at] + residuals[at]):.2f}, the table {np.exp(y[at]):.2f}")
    landscape = {
        "table": table,
        "images": images,
        "steps": steps,
        "floor": round(floor, 4),
        "scale": round(scale, 4),
        "best": np.round(best, 3).tolist(),
        "curvature": np.round(root @ root.T, 3).tolist(),
        "fine_curvature": np.round(fine_curvature, 4).tolist(),
        "noise": measured_noise(surrogate.noise),
        "noise_length": round(float(np.exp(np.log(surrogate.lengths).mean())), 3),
        "bias": np.round(surrogate.bias, 2).tolist(),
    }
    out.write_text(json.dumps(landscape, indent=1) + "\n")


def measured_noise(learnt: Noise) -> dict[str, float]:
    """Return noise with the total and the difference of neighbours of digits.

    The ratio of the smooth and the shared part is that of the table.
    """
    rows = [r for r in json.loads(NOISE.read_text()) if r["objective"] == "digits"]
    total = float(np.mean([row["spread of log FID"] for row in rows]))
    rough = float(np.mean([row["spread of the difference"] for row in rows])) / np.sqrt(2)
    shrink = np.sqrt((total**2 - rough**2) / (learnt.offset**2 + learnt.smooth**2))
    parts = {"offset": learnt.offset * shrink, "smooth": learnt.smooth * shrink, "rough": rough}
    return {name: round(float(value), 4) for name, value in parts.items()}


if __name__ == "__main__":
    sys.exit(typer.run(main))
