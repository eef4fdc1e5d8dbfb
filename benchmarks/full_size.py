"""Loads a full-size checkpoint of random weights, and makes 2 images with it on the CPU.

    python -m benchmarks.full_size halton-384-large

It prints the seconds of loading, and the largest memory of the process beyond that of its imports,
in multiples of the weights. docs/zoo.md has the numbers.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import typer

from benchmarks.gpu_files import published_shapes, shapes_of, write_random
from models.decoding import generate
from models.generators.generator import MaskedGenerator
from models.generators.halton import HaltonConfig, HaltonNetwork
from models.generators.muse import load_muse
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.generators.registry import load_generator
from models.tokenizers.decoder import GridDecoder
from models.tokenizers.tokenizer import load_tokenizer
from search.strategy import GenerationStrategy
from tests.models.prompts import six_prompts

Shapes = Mapping[str, Sequence[int]]
REFERENCE = Path(__file__).parents[1] / "tests" / "reference"


@dataclass(frozen=True)
class FullSize:
    """A checkpoint: the shapes of its network and its tokenizer, and how both are loaded."""

    shapes: Callable[[], Shapes]
    tokenizer: Callable[[], Shapes]
    load: Callable[[Path, Path], MaskedGenerator]


def _muse_class() -> Shapes:
    shapes = dict(shapes_of(NAT, NATConfig(1024, 256, 1000, 768, 12, 12)))
    kept = {name: shape for name, shape in shapes.items() if not name.startswith("context_embed.")}
    words = {"word": (2026, 768), "position": (257, 768)}
    tables = {f"token_emb.{name}_embeddings.weight": shape for name, shape in words.items()}
    return kept | tables | {"mlm_layer.bias": (1, 1, 2026)}


def _muse_text() -> Shapes:
    return shapes_of(NAT, NATConfig(1024, 256, None, 1152, 28, 16, context_width=1280))


def _load_muse_text(weights: Path, tokenizer: Path) -> MaskedGenerator:
    nat, texts = load_muse(weights, 1024), six_prompts(1280)
    nat.set_null_context(texts.null)
    decoder = GridDecoder(lambda: load_tokenizer(f"vqgan:{tokenizer}"), (16, 16))
    return NATGenerator(nat.config, decoder, texts, nat)


def _halton(width: int, depth: int, heads: int, tokens: int) -> Callable[[], Shapes]:
    hidden = -(-int(8 * width / 3) // 256) * 256
    config = HaltonConfig(
        *(16384, tokens, 1000, width, depth, heads), inner=width // heads * heads, hidden=hidden
    )
    return lambda: shapes_of(HaltonNetwork, config)


def _reference(name: str) -> Callable[[], Shapes]:
    def shapes() -> Shapes:
        found: Shapes = json.loads((REFERENCE / f"{name}_state_dict.json").read_text())
        return found

    return shapes


def _by_kind(kind: str, tokenizer_kind: str) -> Callable[[Path, Path], MaskedGenerator]:
    return lambda weights, tokenizer: load_generator(
        f"{kind}:{weights}", tokenizer=f"{tokenizer_kind}:{tokenizer}"
    )


def _vqgan() -> Shapes:
    return published_shapes("vqgan_f16_state_dict")


OF_HALTON = (_reference("halton/vq_ds16_c2i"), _by_kind("halton", "llamagen"))
FULL_SIZES = {
    "muse-class": FullSize(_muse_class, _vqgan, _by_kind("muse", "vqgan")),
    "muse-text": FullSize(_muse_text, _vqgan, _load_muse_text),
    "halton-256-tiny": FullSize(_halton(384, 6, 6, 256), *OF_HALTON),
    "halton-256-small": FullSize(_halton(512, 12, 6, 256), *OF_HALTON),
    "halton-256-base": FullSize(_halton(768, 12, 12, 256), *OF_HALTON),
    "halton-384-large": FullSize(_halton(1024, 24, 16, 576), *OF_HALTON),
    "titok-s128": FullSize(
        _reference("titok/uvit_s128"),
        _reference("titok/tokenizer_s128"),
        _by_kind("titok", "titok"),
    ),
}


def main(name: str, steps: int = 1, threads: int = 1) -> None:
    """Measure one of the checkpoints; its files are made first, and deleted afterwards."""
    made = FULL_SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        # In other processes, whose memory is not measured.
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1, maxtasksperchild=1) as pool:
            pool.apply(_write, (Path(folder), made.shapes(), made.tokenizer()))
            found: dict[str, Any] = pool.apply(_measure, (name, Path(folder), steps, threads))
    print(json.dumps({"name": name, "steps": steps, **found}))


def _write(folder: Path, shapes: Shapes, tokenizer: Shapes) -> None:
    write_random(folder / "weights.pth", shapes)
    write_random(folder / "tokenizer.pth", tokenizer)


def _measure(name: str, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    generator = FULL_SIZES[name].load(folder / "weights.pth", folder / "tokenizer.pth")
    loading, loaded = time.perf_counter() - started, _peak()
    used = time.process_time() - used
    conditions = generator.conditions_of(torch.tensor([0, 1]))
    started = time.perf_counter()
    tokens = generate(generator, conditions, GenerationStrategy.maskgit(steps))
    images = generator.decode(tokens)
    weights = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "weights_gb": round(weights / 1e9, 2),
        "loading_seconds": round(loading, 1),
        "loading_cpu_seconds": round(used, 1),
        "memory_loaded": round((loaded - before) / weights, 2),
        "memory": round((_peak() - before) / weights, 2),
        "images": list(images.shape),
        "images_seconds": round(time.perf_counter() - started, 1),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(typer.run(main))
