"""The material of the GPU check: a small trained generator, and networks of published sizes with
random weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_files import write_networks, write_pictures
from models.data.image_sources import open_source
from models.data.real_statistics import pixels_file, real_statistics
from search.controls import CONTROLS
from trials.objectives.digits import DigitsObjective
from trials.objectives.images import ImagesObjective

REPOSITORY = Path(__file__).parents[1]
SEEDS = range(1, 6)
RULE = CONTROLS["rule of thumb"]


def quiet(*_: object) -> None:
    """Report nothing."""


@dataclass
class Bench:
    """The folder of the checks, and the objects that they share.

    Attributes:
        folder: the folder of all files, which are deleted at the end.
        small: whether to use small networks and few images.
    """

    folder: Path
    small: bool

    def __post_init__(self) -> None:
        self._made: dict[str, Any] = {}

    def made(self, name: str, make: Callable[[Path], Any]) -> Any:
        """Return the object of that name; the first call makes it, in a folder of its own."""
        if name not in self._made:
            self._made[name] = make(self.folder / name)
        return self._made[name]

    @property
    def images(self) -> int:
        """The default number of images of an evaluation."""
        return 100 if self.small else 400

    def networks(self) -> dict[str, Path]:
        """Return the files of networks (see `write_networks`)."""
        found: dict[str, Path] = self.made("networks", lambda f: write_networks(f, self.small))
        return found

    def pictures(self) -> Path:
        """Return a folder of more pictures than Inception has features, or of a few small ones."""
        count, side = (60, 16) if self.small else (2100, 256)
        found: Path = self.made("pictures", lambda f: write_pictures(f, count, side))
        return found

    def reference(self, features: str) -> dict[str, str]:
        """Return settings of an images objective: features, and statistics of the pictures."""
        size, workers = (16, 0) if self.small else (256, 4)

        def make(folder: Path) -> dict[str, str]:
            path, named = folder / "real.npz", features
            if features == "inception":
                named = f"inception:{self.networks()['inception']}"
            real_statistics(
                open_source(self.pictures()),
                named,
                size,
                path,
                side=4,
                batch=50,
                workers=workers,
                report=lambda _: quiet,
            )
            if features == "pixels":
                named = f"pixels:{pixels_file(path)}"
            return {"features": named, "reference": str(path)}

        found: dict[str, str] = self.made(f"real-{features}", make)
        return found

    def published(self, size: str, features: str, **settings: Any) -> ImagesObjective:
        """Make and prepare the objective `images` with files in the published formats."""
        files = self.networks()
        sizes: dict[str, Any] = {"size": size, "grid": 16, "num_classes": 1000}
        if self.small:
            sizes = {"width": 32, "depth": 2, "num_heads": 2, "grid": 8, "num_classes": 10}
        objective = ImagesObjective(
            weights=str(files[size]),
            tokenizer=f"vqgan:{files['vqgan']}",
            **sizes,
            **self.reference(features),
            **settings,
        )
        objective.prepare(self.folder, quiet)
        return objective

    def digits(self) -> DigitsObjective:
        """Return the objective `digits`, trained on the device."""

        def make(folder: Path) -> DigitsObjective:
            objective = DigitsObjective(training_steps=30 if self.small else 1500)
            objective.prepare(folder, quiet)
            return objective

        found: DigitsObjective = self.made("digits", make)
        return found

    def on_the_cpu(self) -> subprocess.Popen[str]:
        """Start a process without the GPU that measures digits during other checks."""

        def start(_: Path) -> subprocess.Popen[str]:
            program = (
                "from benchmarks.gpu_bench import Bench, Path, measured_digits\n"
                f"print(measured_digits(Bench(Path({str(self.folder)!r}), {self.small})))"
            )
            return subprocess.Popen(
                [sys.executable, "-c", program],
                env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        found: subprocess.Popen[str] = self.made("on the CPU", start)
        return found


def measured_digits(bench: Bench) -> str:
    """Measure the trained digits with 5 seeds; the result is JSON."""
    images = 100 if bench.small else 1000
    found = [bench.digits().evaluate(RULE(8), images, seed) for seed in SEEDS]
    return json.dumps([asdict(measurement) for measurement in found])
