"""Draws FID against forward passes on the large letters: found strategies beside controls.

python -m benchmarks.letters_passes docs/letters-passes.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from search.strategy import GenerationStrategy

ROWS = Path(__file__).parent / "letters-large.parquet"
FOUND = "coarse-to-fine with gradients and spread noise"
CONTROLS = ("controls", "controls with spread noise")


def passes_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the figure with their forward passes, and a column `line`.

    Args:
        rows: of `benchmarks.letters`.
    """
    searched = rows[(rows["label"] == FOUND) & (rows["budget"] == rows["budget"].max())]
    controls = rows[rows["label"].isin(CONTROLS)]
    rule = controls[(controls["name"] == "rule of thumb") & (controls["label"] == CONTROLS[0])]
    best = controls.loc[controls.groupby("steps")["fid"].idxmin()]
    few = controls[(controls["name"] == "more remask noise") & (controls["label"] == CONTROLS[1])]
    named = {
        "rule of thumb": rule,
        "more remask noise, spread": few,
        "best control": best,
        "found, with spread noise": searched,
    }
    every = pd.concat([some.assign(line=line) for line, some in named.items()])
    strategies = [GenerationStrategy.from_json(json.loads(told)) for told in every["strategy"]]
    return every.assign(passes=[strategy.forward_passes() for strategy in strategies])


def draw(table: pd.DataFrame, out: Path) -> None:
    """Draw FID against forward passes; a line joins the means of each T."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 4.4), dpi=130)
    colours = ("#7d828a", "#009e73", "#d55e00", "#0072b2")
    for colour, (line, of) in zip(colours, table.groupby("line", sort=False), strict=True):
        means = of.groupby("steps")[["passes", "fid"]].mean()
        style = "-" if line.startswith("found") else "--"
        axis.plot(means["passes"], means["fid"], style, color=colour, label=line)
        axis.plot(of["passes"], of["fid"], "o", color=colour, ms=4)
        if line.startswith("found"):
            for steps, row in means.iterrows():
                where = (row["passes"], row["fid"])
                axis.annotate(f"T = {steps}", where, (5, 6), textcoords="offset points")
    axis.set(xscale="log", yscale="log", xlabel="forward passes per image", ylabel="FID")
    axis.set_xticks((2, 4, 8, 16, 32, 64), labels=(2, 4, 8, 16, 32, 64))
    axis.set_yticks((8, 10, 15, 20, 30, 60), labels=(8, 10, 15, 20, 30, 60))
    axis.minorticks_off()
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the picture")
    given = parser.parse_args()
    table = passes_table(pd.read_parquet(ROWS))
    draw(table, given.out)
    print(table[["line", "steps", "seed", "passes", "fid", "fid_se"]].round(2).to_string())


if __name__ == "__main__":
    main()
