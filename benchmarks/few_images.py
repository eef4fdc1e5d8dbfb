"""Which metric to search with few images: FID, leading FID, FID∞, KID or MMD, and at which n.

    python -m benchmarks.few_images run letters.npz --out FOLDER      # hours on 2 cores
    python -m benchmarks.few_images table benchmarks/few-images.parquet
    python -m benchmarks.few_images picture benchmarks/few-images.parquet docs/few-images.png

letters.npz is what benchmarks.render_letters makes. Every search has the same number of images, and
what it found is tested in FID on all of the features, at an n and a seed that no search uses. A run
that was interrupted goes on where it was. F: features per image.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.kept_rows import Row, read_rows, require_same_plan, rows_of_tasks, run_command
from benchmarks.search_alone import search_alone
from models.data.letters import CHARACTERS, read_pictures
from models.features.features import Features
from models.generators.nat_generator import NATGenerator
from models.hashes import numbers_hash
from models.metrics.leading_fid import LeadingFID
from models.metrics.metric import RealImages, statistics_of
from search.controls import CONTROLS
from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.letters.files import FOLDER, read_features, read_size
from trials.objectives.letters.objective import GreyPatches
from trials.objectives.nat_objective import NATObjective
from trials.objectives.yardstick import Yardstick

STEPS = 4
TEST_SEED = 1001
CONTROL = "control"
PIXELS, RANDOM = "pixels and classes", "random network"
WIDTH, SIDE = 512, 2
"""The random network has WIDTH features in each of SIDE x SIDE places."""
VARIANCE = 260.0
"""The total variance of the random network's features, about that of pixels and classes: kernels
depend on the scale."""
REAL_IMAGES = 10_000
"""Real images with which KID and MMD compare; FID uses all."""


@dataclass(frozen=True)
class Arm:
    """What a search minimises.

    Attributes:
        features: the name of the features.
        metric: the name of the metric.
        images: n of an evaluation.
        directions: of FID, the leading ones that it sees (`LeadingFID`); 0 for all features.
        gradients: whether the search learns from gradients.
    """

    features: str
    metric: str
    images: int
    directions: int = 0
    gradients: bool = False

    @property
    def name(self) -> str:
        """What a row is called; that of the controls is CONTROL."""
        if not self.metric:
            return CONTROL
        seen = f" on {self.directions} directions" if self.directions else ""
        along = " with gradients" if self.gradients else ""
        return f"{self.metric}{seen}{along}, n = {self.images}"


ARMS = (
    Arm(RANDOM, "fid", 2458),
    Arm(RANDOM, "fid", 500, 128),
    Arm(RANDOM, "kid", 500),
    Arm(RANDOM, "fid-infinity", 2458),
    Arm(RANDOM, "fid-infinity", 1026),
    Arm(RANDOM, "mmd", 500),
    Arm(RANDOM, "fid", 500, 128, gradients=True),
    Arm(PIXELS, "fid", 350),
    Arm(PIXELS, "fid-infinity", 350),
    Arm(PIXELS, "fid", 876),
    Arm(PIXELS, "kid", 500),
    Arm(PIXELS, "mmd", 500),
    Arm(PIXELS, "fid", 2920),
    Arm(RANDOM, "kid", 2000),
    Arm(RANDOM, "fid", 500, 32),
    Arm(PIXELS, "fid", 350, 128),
    Arm(PIXELS, "fid", 250, 64),
    Arm(PIXELS, "kid", 2000),
    Arm(RANDOM, "fid", 2458, gradients=True),
    Arm(RANDOM, "fid", 1000, 128, gradients=True),
)
"""n is 1.2 F, 3 F and 10 F for FID. 3 F and 10 F of 2,048 features leave fewer evaluations than a
search needs."""


class RandomNetwork(Features):
    """2,048 features of three random convolutions of pictures of 16 x 16 pixels, or of 32 x 32.

    Args:
        scale: by which they are multiplied.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.num_features = WIDTH * SIDE * SIDE
        self.description = f"{self.num_features} features of a random network"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in ((1, 64), (64, 256), (256, WIDTH))]
            for layer in layers:
                nn.init.kaiming_normal_(layer.weight)
        self.layers, self.scale = nn.ModuleList(layers), scale

    def forward(self, images: Tensor) -> Tensor:
        """Map grey images [B, H, W] in [0, 1] to features [B, F]."""
        found = nn.functional.adaptive_avg_pool2d(images[:, None].float(), 16)
        for layer in self.layers:
            found = layer(found).relu()
        return self.scale * found.flatten(1)

    def hash(self) -> str:
        """See `Features.hash`."""
        return numbers_hash(torch.cat([w.flatten() for w in self.state_dict().values()]))


@dataclass(frozen=True)
class Plan:
    """What all searches of a run have in common.

    Attributes:
        pictures: the file of real pictures.
        budget: the images of a search.
        test_images: n of the final tests.
    """

    pictures: Path
    budget: int
    test_images: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run the searches that are missing")
    run.add_argument("pictures", type=Path)
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    run.add_argument("--features", choices=[RANDOM, PIXELS], help="those of the arms; else both")
    run.add_argument("--arms", nargs="+", metavar="ARM", help="names as in the table; else all")
    run.add_argument("--budget", type=int, default=40_000)
    run.add_argument("--test-images", type=int, default=10_080)
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--out", type=Path, required=True)
    run.set_defaults(command=run_all)
    run_command(parser, commands, table, draw)


def run_all(given: argparse.Namespace) -> None:
    """Run the controls and every search that is missing, and write rows.parquet and the table."""
    plan = Plan(given.pictures.resolve(), given.budget, given.test_images)
    told = {"budget": plan.budget, "test_images": plan.test_images}
    require_same_plan(given.out, told | {"pictures": read_pictures(plan.pictures).hash()})
    kept = given.out / "rows.jsonl"
    done = {(row["features"], row["arm"], row["seed"]) for row in read_rows(kept)}
    seen = [given.features] if given.features else [RANDOM, PIXELS]
    arms = [arm for arm in ARMS if arm.features in seen]
    if unknown := set(given.arms or ()) - {arm.name for arm in arms}:
        raise SystemExit(f"unknown --arms {sorted(unknown)}: there are {[a.name for a in arms]}")
    chosen = [arm for arm in arms if not given.arms or arm.name in given.arms]
    controls = [(Arm(features, "", 0), 0) for features in seen]
    tasks = [*controls, *((arm, seed) for seed in given.seeds for arm in chosen)]
    missing = [(arm, seed) for arm, seed in tasks if (arm.features, arm.name, seed) not in done]
    measure = functools.partial(_task, plan)
    rows = rows_of_tasks(kept, missing, measure, given.processes)
    frame = pd.DataFrame(rows)
    frame.to_parquet(given.out / "rows.parquet")
    print(table(frame))


def _task(plan: Plan, task: tuple[Arm, int]) -> list[Row]:
    return measured(plan, *task)


def measured(plan: Plan, arm: Arm, seed: int) -> list[Row]:
    """The row of what a search found, or those of the controls of its features."""
    torch.set_num_threads(1)
    if not arm.metric:
        return [
            tested(plan, arm, seed, name, control(STEPS), 0.0) for name, control in CONTROLS.items()
        ]
    started = time.monotonic()
    objective = _objective(plan, arm)
    space, budget = Space(GenerationStrategy.maskgit(STEPS)), Budget(plan.budget, arm.images)
    settings = {"gradients": True} if arm.gradients else {}
    made = make_optimiser("coarse-to-fine", space, budget, seed, settings, objective.tokens)
    found = search_alone(made, space, budget.evaluations, objective).strategy
    return [tested(plan, arm, seed, arm.name, found, time.monotonic() - started)]


def tested(
    plan: Plan, arm: Arm, seed: int, name: str, strategy: GenerationStrategy, seconds: float
) -> Row:
    """The row of a strategy with its FID on all of the features."""
    found = _objective(plan, Arm(arm.features, "fid", 0)).evaluate(
        strategy, plan.test_images, TEST_SEED
    )
    return {
        "arm": arm.name,
        "budget": plan.budget,
        "features": arm.features,
        "metric": arm.metric or CONTROL,
        "images": arm.images,
        "directions": arm.directions,
        "gradients": arm.gradients,
        "name": name,
        "seed": seed,
        "seconds": seconds,
        "passes": strategy.forward_passes(),
        "fid": found.value,
        "fid_se": found.standard_error or math.nan,
        "strategy": json.dumps(strategy.to_json()),
    }


@functools.lru_cache(maxsize=2)  # that of a search, and that of its test
def _objective(plan: Plan, arm: Arm) -> NATObjective:
    """The small letters, measured as this arm does; n is not used."""
    file = read_size(FOLDER / "small.safetensors")
    features, real = real_features(plan.pictures, arm.features)
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:REAL_IMAGES]
    return NATObjective(
        NATGenerator(file.config, GreyPatches(file.codes, 8)).with_weights(file.nat()),
        Yardstick(
            features,
            RealImages(statistics_of(real), real[some]),
            metric=LeadingFID(arm.directions) if arm.directions else arm.metric,
            mean_image=file.mean_image,
        ),
        None,
        dataset="letters and digits of free fonts, 16 x 16",
        conditions="",
        classes="equal",
        chunk=2 * len(CHARACTERS),
    )


@functools.cache
def real_features(pictures: Path, name: str) -> tuple[Features, Tensor]:
    """Features, and those of all real pictures, [N, F]."""
    images = read_pictures(pictures).images
    with torch.inference_mode():
        if name == PIXELS:
            features: Features = read_features(FOLDER / "features.safetensors")
            return features, features(images)
        plain = torch.cat([RandomNetwork()(part) for part in images.split(1000)])
        scale = (VARIANCE / float(plain.double().var(0).sum())) ** 0.5
        return RandomNetwork(scale), scale * plain


def table(rows: pd.DataFrame) -> str:
    """One line for each control and each kind of search of a budget, with the mean over seeds."""
    grouped = rows.groupby(["features", "budget", "name"])
    found = grouped["fid"].agg(["mean", "sem", "min", "max", "count"])
    found["test error"], found["seconds"] = grouped["fid_se"].mean(), grouped["seconds"].mean()
    return (
        found.reset_index()
        .sort_values(["features", "budget", "mean"])
        .round(3)
        .to_string(index=False)
    )


def draw(rows: pd.DataFrame, out: Path) -> None:
    """Draw the FID that each kind of search of the smallest budget found, a dot for each seed."""
    import matplotlib.pyplot as plt

    rows = rows[rows["budget"] == rows["budget"].min()]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), dpi=130)
    for axis, (features, own) in zip(axes, rows.groupby("features"), strict=True):
        searched = own[own["metric"] != CONTROL]
        order = searched.groupby("name")["fid"].mean().sort_values(ascending=False).index
        for place, name in enumerate(order):
            values = searched[searched["name"] == name]["fid"]
            axis.plot(values, [place] * len(values), "o", color="#1f77b4")
        axis.set_yticks(range(len(order)), order)
        best = own[own["metric"] == CONTROL]["fid"].min()
        axis.axvline(best, color="grey", linestyle="--", label="best control")
        axis.set(title=features, xlabel="FID of what was found")
        axis.legend()
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main()
