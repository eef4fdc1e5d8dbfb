"""Makes the files of the letters objective: codes, real statistics, a trained NAT of each size.

    python -m benchmarks.train_letters letters.npz --out FOLDER            # minutes on a GPU
    python -m benchmarks.train_letters letters.npz --out FOLDER --size small

The files that come with the package are those of trials/objectives/letters.

`benchmarks.render_letters` makes the pictures. A training that was interrupted is resumed from
OUT/training. It needs only what `models` needs.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.data.letters import CHARACTERS, CODES, Pictures, encode, fit_codes, read_pictures
from models.features.features import PixelsAndClasses
from models.generators.nat import NAT, NATConfig
from models.metrics.anchors import mean_of_halvings
from models.metrics.frechet import Statistics
from models.metrics.metric import statistics_of
from models.metrics.reference_statistics import Made, Reference, write_reference
from models.precision import device
from models.training.masked_loss import validation_loss
from models.training.settings import TrainingSettings
from models.training.training import train
from search.training_strategy import TrainingStrategy
from trials.objectives.letters.files import (
    MEASURED_SIDE,
    SIZES,
    SizeFile,
    read_features,
    write_features,
)

SHOWN = 4
"""Real pictures of each class that are kept to be shown."""
NETWORKS = {"small": (80, 4, 5), "large": (128, 4, 4)}
"""Width, depth and attention heads of the NAT of each size."""


@dataclass(frozen=True)
class Wanted:
    """What is made.

    Attributes:
        steps: the training steps of a NAT, each of `batch` pictures.
        batch: the pictures of a step.
        precision: of the training.
        out: the folder for the files.
    """

    steps: int
    batch: int
    precision: str
    out: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--size", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--network", type=int, nargs=3, metavar=("WIDTH", "DEPTH", "HEADS"))
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    wanted = Wanted(given.steps, given.batch, given.precision, given.out)
    wanted.out.mkdir(parents=True, exist_ok=True)
    try:
        pictures = read_pictures(given.pictures)
    except ValueError as error:
        parser.error(str(error))
    measure_real_pictures(pictures, wanted.out)
    for size in given.size:
        make_size(size, given.network or NETWORKS[size], pictures, wanted)


def measure_real_pictures(pictures: Pictures, out: Path) -> None:
    """Write features and reference statistics."""
    fitted = PixelsAndClasses.fit(pictures.images, pictures.classes, MEASURED_SIDE)
    write_features(out / "features.safetensors", fitted)
    features = read_features(out / "features.safetensors")  # rounded to float32
    with torch.inference_mode():
        found = features(pictures.images)
    made = Made(
        features.description,
        features.hash(),
        len(pictures.images[0]),
        True,
        f"{len(found):,} letters and digits of free fonts",
    )
    exact = statistics_of(found)
    rounded = Statistics(exact.mean.float(), exact.covariance.float(), exact.images)
    reference = Reference(rounded, made, mean_of_halvings(found))
    write_reference(out / "reference.npz", reference)
    print(f"real pictures: {len(found):,}, features: {found.shape[1]}", flush=True)


def make_size(size: str, network: tuple[int, int, int], whole: Pictures, wanted: Wanted) -> None:
    """Fit codes, train a NAT, and write the file of a size."""
    pictures = whole.scaled(SIZES[size])
    codes = fit_codes(pictures.images)
    tokens = encode(pictures.images, codes)
    width, depth, heads = network
    config = NATConfig(CODES, tokens.shape[1], len(CHARACTERS), width, depth, heads, dropout=0.0)
    settings = TrainingSettings(
        strategy=TrainingStrategy("cosine"),
        steps=wanted.steps,
        batch_size=wanted.batch,
        learning_rate=1.5e-3,
        warmup_steps=300,
        betas=(0.9, 0.99),
        label_smoothing=0.0,
        ema_decay=0.999,
        precision=wanted.precision,
    )
    started = time.perf_counter()

    def show(done: int, total: int, note: str) -> None:
        if done % 200 == 0 or done == total:
            spent = time.perf_counter() - started
            left = spent / done * (total - done)
            print(f"{size}: step {done:,} of {total:,}, {note}, {left:.0f} s left", flush=True)

    folder = wanted.out / "training" / size
    nat = train(config, settings, tokens, pictures.classes, folder, show)
    told = asdict(settings) | {"strategy": settings.strategy.to_json(), "pictures": whole.hash()}
    examples, mean = _examples(tokens, pictures), pictures.images.mean(0)
    file = SizeFile(config, nat.state_dict(), codes, examples, mean, told)
    file.write(wanted.out / f"{size}.safetensors")
    spent = time.perf_counter() - started
    print(json.dumps({"size": size, **_summary(nat, tokens, pictures), "seconds": round(spent)}))


def _examples(tokens: torch.Tensor, pictures: Pictures) -> torch.Tensor:
    """Tokens of some pictures of each class, spread over the fonts, one of each class in turn."""
    chosen = []
    for label in range(len(CHARACTERS)):
        places = (pictures.classes == label).nonzero()[:, 0]
        chosen.append(places[torch.linspace(0, len(places) - 1, SHOWN + 2).long()[1:-1]])
    return tokens[torch.stack(chosen, dim=1).flatten()]


def _summary(nat: NAT, tokens: torch.Tensor, pictures: Pictures) -> dict[str, float | str]:
    parameters = sum(p.numel() for p in nat.parameters())
    loss = validation_loss(nat, tokens[::10], pictures.classes[::10], repeats=1)
    return {"parameters": parameters, "loss on training pictures": loss, "device": device()}


if __name__ == "__main__":
    main()
