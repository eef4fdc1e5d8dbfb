"""Compares decoding with literal ports of the samplers of public generators, on the same weights.

    python -m benchmarks.zoo_decoding halton-256-tiny --batch 4

The ports follow the public code step by step: two forward passes at every step, and the
probabilities of every position; that of aMUSEd takes its steps with the scheduler of diffusers. The
two are timed in turn, with random weights and without decoding to pixels. Only the ratio of their
times matters.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

import torch
import typer
from torch import Tensor
from torch.distributions import Categorical, Gumbel

from models.decoding import generate
from models.generators.amused import AmusedGenerator
from models.generators.amused_texts import PromptEncoder
from models.generators.class_generator import ClassGenerator
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator
from models.generators.halton import HEADS, HaltonConfig, HaltonNetwork
from models.generators.halton_generator import HaltonGenerator
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.generators.titok import TiTokConfig, titok_network
from models.token_orders import halton_order
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy
from trials.presets.presets import read_strategy

Sampler = Callable[[MaskedGenerator, Conditions, GenerationStrategy], Tensor]


@torch.inference_mode()
def literal_halton(
    generator: MaskedGenerator, classes: Conditions, strategy: GenerationStrategy
) -> Tensor:
    """Generate tokens like Halton-MaskGIT's sampler."""
    length, batch = generator.tokens, len(classes)
    order = torch.from_numpy(halton_order(generator.grid or (1, length)).copy())
    tokens = torch.full((batch, length), generator.mask_token)
    both = Conditions.cat([classes, generator.null(classes)])
    for step in range(strategy.steps):
        ratio = math.acos((step + 1) / strategy.steps) / (math.pi / 2)
        shown = max(step + 1, int(length * (1 - ratio)))
        scale = strategy.guidance_scale[step]
        cond, uncond = generator(torch.cat([tokens, tokens]), both).chunk(2)
        logits = (1 + scale) * cond - scale * uncond
        sampled = Categorical(probs=torch.softmax(logits, -1)).sample()
        turn = order[:shown]
        tokens[:, turn] = torch.where(
            tokens[:, turn] == generator.mask_token, sampled[:, turn], tokens[:, turn]
        )
    return tokens


@torch.inference_mode()
def literal_muse(
    generator: MaskedGenerator, classes: Conditions, strategy: GenerationStrategy
) -> Tensor:
    """Generate tokens like MUSE-Pytorch's sampler."""
    length, batch = generator.tokens, len(classes)
    tokens = torch.full((batch, length), generator.mask_token)
    null = generator.null(classes)
    for step in range(strategy.steps):
        ratio = math.cos(math.pi / 2 * (step + 1) / strategy.steps)
        warmth = 4.5 * (1 - (step + 1) / strategy.steps)
        scale = strategy.guidance_scale[step]
        cond, uncond = generator(tokens, classes), generator(tokens, null)
        logits = cond + scale * (cond - uncond)
        masked = tokens == generator.mask_token
        sampled = (logits + warmth * Gumbel(0.0, 1.0).sample(logits.shape)).argmax(-1)
        sampled = torch.where(masked, sampled, tokens)
        if step == strategy.steps - 1:
            return sampled
        chosen = logits.gather(-1, sampled[..., None])[..., 0]
        chosen = chosen + warmth * Gumbel(0.0, 1.0).sample(chosen.shape)
        chosen = torch.where(masked, chosen, torch.inf)
        count = max(1, min(int(masked[0].sum()) - 1, math.floor(length * ratio)))
        cut = chosen.sort(dim=1).values[:, count : count + 1]
        tokens = torch.where(chosen < cut, generator.mask_token, sampled)
    return tokens


@torch.inference_mode()
def literal_titok(
    generator: MaskedGenerator, classes: Conditions, strategy: GenerationStrategy
) -> Tensor:
    """Generate tokens like TiTok's sampler for L-32."""
    length, batch = generator.tokens, len(classes)
    tokens = torch.full((batch, length), generator.mask_token)
    both = Conditions.cat([classes, generator.null(classes)])
    for step in range(strategy.steps):
        ratio = (step + 1) / strategy.steps
        warmth, scale = 9.5 * (1 - ratio), strategy.guidance_scale[step]
        masked = tokens == generator.mask_token
        if scale == 0:
            logits = generator(tokens, classes)
        else:
            cond, uncond = generator(torch.cat([tokens, tokens]), both).chunk(2)
            logits = cond + scale * (cond - uncond)
        logits = logits / (0.5 + 0.8 * (1 - ratio))
        sampled = (logits + warmth * Gumbel(0.0, 1.0).sample(logits.shape)).argmax(-1)
        chosen = logits.gather(-1, sampled[..., None])[..., 0]
        sampled = torch.where(masked, sampled, tokens)
        if step == strategy.steps - 1:
            return sampled
        chosen = torch.where(masked, chosen, torch.inf)
        left = math.floor(length * math.acos(ratio) / (math.pi / 2))
        count = max(1, min(int(masked[0].sum()) - 1, left))
        chosen = chosen + warmth * Gumbel(0.0, 1.0).sample(chosen.shape)
        cut = chosen.sort(dim=1).values[:, count - 1 : count]
        tokens = torch.where(chosen <= cut, generator.mask_token, sampled)
    return tokens


@torch.inference_mode()
def literal_amused(
    generator: MaskedGenerator, prompts: Conditions, strategy: GenerationStrategy
) -> Tensor:
    """Generate tokens like diffusers' AmusedPipeline with its default settings."""
    from diffusers import AmusedScheduler

    length, batch = generator.tokens, len(prompts)
    scheduler = AmusedScheduler(generator.mask_token)
    scheduler.set_timesteps(strategy.steps, (2, 0))
    tokens = torch.full((batch, length), generator.mask_token)
    both = Conditions.cat([generator.null(prompts), prompts])
    for timestep in scheduler.timesteps:
        uncond, cond = generator(torch.cat([tokens, tokens]), both).chunk(2)
        logits = uncond + 10 * (cond - uncond)
        tokens = scheduler.step(logits, timestep, tokens).prev_sample
    return tokens


class RandomTexts:
    """In place of aMUSEd's CLIP, which encodes a prompt once: states and pooled vectors."""

    tokens = 77

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return random states [B, 77, 768] and pooled vectors [B, 768]."""
        return torch.randn(len(prompts), self.tokens, 768), torch.randn(len(prompts), 768)


def _amused(side: int) -> AmusedGenerator:
    from diffusers import UVit2DModel

    resized = side > 16
    network = UVit2DModel(sample_size=side, downsample=resized, upsample=resized).eval()
    return AmusedGenerator(
        network,
        cast(PromptEncoder, RandomTexts()),
        GreyLevels(8192, (side, side)),
        tuple(map(str, range(1000))),
        mask_token=8255,
        image_size=16 * side,
    )


def _halton(width: int, depth: int, side: int) -> HaltonGenerator:
    heads = HEADS[width]
    config = HaltonConfig(
        *(16384, side * side, 1000, width, depth, heads),
        inner=width // heads * heads,
        hidden=-(-int(8 * width / 3) // 256) * 256,
    )
    return HaltonGenerator(HaltonNetwork(config).eval(), GreyLevels(16384, (side, side)))


def _muse() -> NATGenerator:
    config = NATConfig(1024, 256, 1000, 768, 12, 12)
    return NATGenerator(config, GreyLevels(1024, (16, 16)), nat=NAT(config).eval())


def _titok() -> ClassGenerator:
    config = TiTokConfig("ViT", 4096, 32, 1000, 768, 3072, 24, 16)
    return ClassGenerator(titok_network(config).eval(), GreyLevels(4096, (1, 32)), titok_network)


CASES: dict[str, tuple[Callable[[], MaskedGenerator], Sampler]] = {
    "muse-class": (_muse, literal_muse),
    "amused-256": (lambda: _amused(16), literal_amused),
    "amused-512": (lambda: _amused(32), literal_amused),
    "titok-l32": (_titok, literal_titok),
    "halton-256-tiny": (lambda: _halton(384, 6, 16), literal_halton),
    "halton-256-small": (lambda: _halton(512, 12, 16), literal_halton),
    "halton-256-base": (lambda: _halton(768, 12, 16), literal_halton),
    "halton-384-small": (lambda: _halton(512, 12, 24), literal_halton),
}
"""The generators and literal samplers, by the name of their preset."""


def main(name: str, batch: int = 4, pairs: int = 3, threads: int = 1) -> None:
    """Print CPU seconds per image of both, and their ratio."""
    if name not in CASES:
        raise typer.BadParameter(f"{name!r} is unknown; known: {', '.join(CASES)}")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    make, literal = CASES[name]
    generator, strategy = make(), read_strategy(name).generation
    classes = generator.conditions_of(torch.randint(1000, (batch,)))
    times: dict[str, list[float]] = {"literal": [], "ours": []}
    ways: dict[str, Callable[[], Tensor]] = {
        "literal": lambda: literal(generator, classes, strategy),
        "ours": lambda: generate(generator, classes, strategy, torch.Generator().manual_seed(0)),
    }
    for _ in range(pairs):
        for way, sample in ways.items():
            started = time.process_time()
            sample()
            times[way].append((time.process_time() - started) / batch)
    ratios = [a / b for a, b in zip(times["literal"], times["ours"], strict=True)]
    medians = {way: statistics.median(found) for way, found in times.items()}
    print(
        f"{name}, T = {strategy.steps}, batch {batch}: literal {medians['literal']:.2f} s per "
        f"image, ours {medians['ours']:.2f}: {statistics.median(ratios):.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {pairs} pairs)"
    )


if __name__ == "__main__":
    sys.exit(typer.run(main))
