"""Compares decoding with a literal port of the public sampler, on the same weights and device.

    python -m benchmarks.decoding --size S --batch 8
    python -m benchmarks.decoding --size digits --batch 100
    python -m benchmarks.decoding --size L --batch 125 --precision bfloat16     # on a GPU

The port follows the paper and its public code step by step: two forward passes at every step, the
probabilities of every position, and a complete sort of the confidences. The two are timed in turn,
and only the ratio of their times matters.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, Gumbel

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator, pass_flops
from models.tokenizers.decoder import GreyLevels
from search.controls import published
from search.strategy import GenerationStrategy
from trials.objectives.images import SIZES

DIGITS = NATConfig(17, 64, 10, 32, 2, 2)
LOWEST_SCALE = 1e-4
"""The lower bound of the public search, whose files have no scale of 0."""


@torch.inference_mode()
def literal(nat: NAT, classes: Tensor, strategy: GenerationStrategy) -> Tensor:
    """Generate tokens [B, L] int64 like the public sampler."""
    length, mask = nat.config.tokens, nat.mask_token
    ids = torch.full((len(classes), length), mask, device=classes.device)
    null = torch.full_like(classes, nat.null_class)
    ratios = (*strategy.mask_ratio, 0.0)
    noises = (*strategy.remask_temperature, 0.0)
    for t in range(strategy.steps):
        scale = max(strategy.guidance_scale[t], LOWEST_SCALE)
        cond, uncond = nat(ids, classes).float(), nat(ids, null).float()
        logits = cond + scale * (cond - uncond)
        is_mask = ids == mask
        warmth = max(strategy.sampling_temperature[t], 1e-4)
        sampled = Categorical(logits=logits / warmth).sample()
        sampled = torch.where(is_mask, sampled, ids)
        chosen = logits.log_softmax(-1).gather(-1, sampled[..., None])[..., 0]
        chosen = torch.where(is_mask, chosen, torch.inf)
        if t == strategy.steps - 1:
            return sampled
        confidence = chosen + noises[t] * Gumbel(0.0, 1.0).sample(chosen.shape).to(chosen)
        masked = is_mask.sum(1, keepdim=True)
        count = torch.clamp(torch.minimum(masked - 1, _floor(length * ratios[t], masked)), min=1)
        cut = confidence.sort(dim=1).values.gather(1, count)
        ids = torch.where(confidence < cut, mask, sampled)
    return ids


def _floor(value: float, like: Tensor) -> Tensor:
    return torch.full_like(like, int(value))


def main(
    size: str = "S",
    batch: int = 8,
    grid: int = 16,
    repeats: int = 5,
    threads: int = 1,
    precision: str = "float32",
) -> None:
    """Print a row of the table in docs/images.md: seconds per image of both, and their ratio."""
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if size == "digits":
        config, grid = DIGITS, 8
    else:
        config = NATConfig(1024, grid * grid, 1000, *SIZES[size])
    torch.manual_seed(0)
    nat = NAT(config).eval().to(device)
    classes = torch.randint(config.num_classes, (batch,), device=device)
    generator = NATGenerator(config, GreyLevels(config.codebook_size, (grid, grid)), nat=nat)
    strategy = published(8)
    times: dict[str, list[float]] = {"literal": [], "ours": []}
    ways: dict[str, Callable[[], Tensor]] = {
        "literal": lambda: literal(nat, classes, strategy),
        "ours": lambda: generate(
            generator, Conditions(classes), strategy, torch.Generator(device).manual_seed(0)
        ),
    }
    for turn in range(repeats + 1):
        for name, way in ways.items():
            half = name == "ours" and precision != "float32"
            with torch.autocast(device, getattr(torch, precision), enabled=half):
                seconds = _timed(way, device)
            if turn:  # the first warms up
                times[name].append(seconds / batch)
    ratios = [a / b for a, b in zip(times["literal"], times["ours"], strict=True)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(
        f"size {size}, {grid} x {grid} tokens, T = 8, batch {batch}, {device}, {threads} threads, "
        f"ours in {precision}: literal {medians['literal']:.3f} s per image, ours "
        f"{medians['ours']:.3f}: {statistics.median(ratios):.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {repeats} pairs); passes 16 and "
        f"{strategy.forward_passes()}, {pass_flops(config) / 1e9:.1f} GFLOPs each"
    )


def _timed(way: Callable[[], Tensor], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    way()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    import typer  # `benchmarks.gpu` takes the port to machines without it

    sys.exit(typer.run(main))
