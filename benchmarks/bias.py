"""How much of FID's bias is left in `fid-infinity` where images are few.

    python -m benchmarks.bias letters.npz          # about 20 minutes on one core

letters.npz is what benchmarks.render_letters makes. Five strategies of the small letters at T = 4,
two controls, one with spread noise, and two found ones, make images on one seed. They are cut into
parts of n, and each part is compared with fid-infinity of all of them. What misleads a search is
how far the bias differs between strategies.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import typer
from torch import Tensor

from benchmarks.few_images import PIXELS, RANDOM, STEPS, real_features
from models.metrics.fid import FID
from models.metrics.fid_infinity import FIDInfinity
from models.metrics.metric import RealImages, statistics_of
from search.controls import CONTROLS, MORE_NOISE, RULE_OF_THUMB
from search.strategy import GenerationStrategy
from trials.objectives.letters.objective import LettersObjective

FOUND = Path(__file__).parent / "letters-small-T4.parquet"
LABELS = ("coarse-to-fine with gradients", "coarse-to-fine with gradients and spread noise")
SEED = 777
SIZES = {PIXELS: (300, 400, 720, 1000), RANDOM: (500, 1026, 2100, 2520)}
METRICS = (FID(), FIDInfinity())


def main(pictures: Path, images: int = 10_080, threads: int = 1) -> None:
    """Print the mean of the bias over the strategies, how far it differs, and the noise."""
    torch.set_num_threads(threads)
    made = {name: _images(strategy, images) for name, strategy in _strategies().items()}
    for name, sizes in SIZES.items():
        features, known = real_features(pictures, name)
        real = RealImages(statistics_of(known))
        with torch.inference_mode():
            seen = {of: features(each).double() for of, each in made.items()}
        print(f"\n{name}, {known.shape[1]} features")
        print(pd.DataFrame(_rows(real, seen, sizes)).round(2).to_string(index=False), flush=True)


def _strategies() -> Mapping[str, GenerationStrategy]:
    noisy = CONTROLS[MORE_NOISE](STEPS)
    rows = pd.read_parquet(FOUND)
    rows = rows[(rows["seed"] == 0) & (rows["steps"] == STEPS) & (rows["metric"] == "fid")]
    return {
        RULE_OF_THUMB: CONTROLS[RULE_OF_THUMB](STEPS),
        MORE_NOISE: noisy,
        f"{MORE_NOISE}, spread": replace(noisy, token_order="confidence-spread"),
        **{
            label: GenerationStrategy.from_json(
                json.loads(rows[rows["label"] == label]["strategy"].iloc[0])
            )
            for label in LABELS
        },
    }


def _images(strategy: GenerationStrategy, images: int) -> Tensor:
    """Grey images [n, 16, 16] in [0, 1], with equal numbers of each class in a row."""
    objective = LettersObjective(size="small")
    objective.prepare(Path(), lambda *_: None)
    made = torch.from_numpy(objective.sample(strategy, images, SEED))
    return made.float() / 255


def _rows(
    real: RealImages, seen: Mapping[str, Tensor], sizes: tuple[int, ...]
) -> Iterator[dict[str, object]]:
    truth = {of: METRICS[1].estimate(real, [FID().part(x)]).value for of, x in seen.items()}
    for size, metric in itertools.product(sizes, METRICS):
        parts = {
            of: torch.tensor(
                [
                    metric.estimate(real, [metric.part(part)]).value - truth[of]
                    for part in x.split(size)
                    if len(part) == size
                ]
            )
            for of, x in seen.items()
        }
        biases = torch.stack([found.mean() for found in parts.values()])
        apart = torch.stack([*parts.values()])
        noise = (apart - apart.mean(0)).std(1).mean() * (2 * len(apart) / (len(apart) - 1)) ** 0.5
        yield {
            "n": size,
            "metric": metric.name,
            "mean bias": float(biases.mean()),
            "its deviation between strategies": float(biases.std()),
            "noise of a difference": float(noise),
        }


if __name__ == "__main__":
    typer.run(main)
