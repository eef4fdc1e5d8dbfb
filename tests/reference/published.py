"""The published samplers as strategies, written from their formulas: what the presets must be."""

from __future__ import annotations

import math

import numpy as np

from search.strategy import GenerationStrategy


def muse_strategy(steps: int, scale: float, temperature: float = 4.5) -> GenerationStrategy:
    """MUSE-Pytorch's sampler: cosine, both temperatures falling to 0, guidance rising from 0."""
    falling = [temperature * (1 - (t + 1) / steps) for t in range(steps)]
    return GenerationStrategy(
        tuple(math.cos(math.pi / 2 * (t + 1) / steps) for t in range(steps - 1)),
        tuple(falling[:-1]),
        tuple(falling),
        tuple(scale * t / steps for t in range(steps)),
        confidence="logit",
    )


def halton_strategy(
    tokens: int, steps: int, scale: float, sampling_temperature: float = 1.0
) -> GenerationStrategy:
    """Halton-MaskGIT's sampler: `shown` tokens in a fixed order, constant guidance."""
    times = (np.arange(steps) + 1).astype(np.float32) / np.float32(steps)
    ratios = np.arccos(times) / np.float32(math.pi / 2)
    shown = np.maximum(np.arange(steps) + 1, np.trunc(tokens * (1 - ratios))).astype(int)
    # The half keeps floor(L * ratio) exact, however the division is rounded.
    masked = [(tokens - int(n) + 0.5) / tokens for n in shown[:-1]]
    return GenerationStrategy(
        tuple(masked),
        (1.0,) * (steps - 1),
        (sampling_temperature,) * steps,
        (scale,) * steps,
        token_order="halton",
    )


def halton_confidence_strategy(
    tokens: int, steps: int = 12, scale: float = 3.0, temperature: float = 4.5
) -> GenerationStrategy:
    """Halton-MaskGIT's confidence sampler, except that visible tokens stay."""
    times = np.linspace(0, 1, steps).astype(np.float32)
    ratios = np.arccos(times) / np.float32(math.pi / 2)
    shown = np.maximum(np.arange(steps) + 1, np.trunc(tokens * (1 - ratios))).astype(int)
    masked = [(tokens - int(n) + 0.5) / tokens for n in shown[:-1]]
    return GenerationStrategy(
        tuple(masked),
        tuple(temperature * (1 - t / (steps - 1)) for t in range(steps - 1)),
        (1.0,) * steps,
        tuple(scale * t / (steps - 1) for t in range(steps)),
    )


def titok_strategy(
    steps: int, temperature: float, guidance: str, scale: float, soft: bool = True
) -> GenerationStrategy:
    """TiTok's sampler: arccos, one temperature for both noises, annealed by the soft temperature.

    Args:
        steps: T.
        temperature: R, of the noise.
        guidance: "linear", rising from 0 to scale; or "power-cosine", in the form
            uncond + g (cond - uncond), where g rises from 1 to scale.
        scale: of the guidance, as the public configs have it.
        soft: whether logits are divided by 0.5 + 0.8 (1 - (t + 1) / T).
    """
    times = [(t + 1) / steps for t in range(steps)]
    softs = [0.5 + 0.8 * (1 - time) if soft else 1.0 for time in times]
    noise = [s * temperature * (1 - time) for s, time in zip(softs, times, strict=True)]
    curve = {
        "linear": [scale * t / steps for t in range(steps)],
        "power-cosine": [
            (scale - 1) * (1 - math.cos(math.pi * (t / steps) ** 3)) / 2 for t in range(steps)
        ],
    }
    return GenerationStrategy(
        tuple(math.acos(time) / (math.pi / 2) for time in times[:-1]),
        tuple(noise[:-1]),
        tuple(noise),
        tuple(curve[guidance]),
        confidence="logit",
    )


def amused_strategy(steps: int, g: float, temperature: tuple[float, float]) -> GenerationStrategy:
    """aMUSEd's sampler: cosine, plain sampling, constant guidance uncond + g (cond - uncond).

    Args:
        steps: T.
        g: of the guidance; there is none at 1 and below.
        temperature: the first and last value of the noise on confidences, T values apart.
    """
    noise = np.linspace(*temperature, steps)
    # In single precision, as the public code: cos(pi / 3) is then below a half, so that at T = 12
    # one token fewer stays masked.
    times = np.arange(1, steps).astype(np.float32) / np.float32(steps)
    return GenerationStrategy(
        tuple(float(ratio) for ratio in np.cos(times * np.float32(math.pi / 2))),
        tuple(noise[:-1]),
        (1.0,) * steps,
        (max(0.0, g - 1),) * steps,
    )


PRESETS = {
    "muse-class": muse_strategy(12, 3),
    "muse-text": muse_strategy(18, 10),
    "halton-256-tiny": halton_strategy(256, 32, 1.5),
    "halton-256-small": halton_strategy(256, 32, 1.0),
    "halton-256-base": halton_strategy(256, 32, 0.7),
    "halton-384-small": halton_strategy(576, 32, 1.0),
    "halton-384-base": halton_strategy(576, 32, 0.7),
    "halton-384-large": halton_strategy(576, 32, 0.5),
    "halton-256-confidence": halton_confidence_strategy(256),
    "halton-384-confidence": halton_confidence_strategy(576),
    "amused-256": amused_strategy(12, 10, (2, 0)),
    "amused-512": amused_strategy(12, 10, (2, 0)),
    "titok-l32": titok_strategy(8, 9.5, "linear", 4.5),
    "titok-b64": titok_strategy(8, 11.0, "linear", 3.0),
    "titok-s128": titok_strategy(64, 2.8, "power-cosine", 6.9),
}
"""What the files in trials/presets must hold, by name."""
