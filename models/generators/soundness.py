"""Finds what is wrong with a generator, before anything costly starts: a first, quick look.

`models.testing.check_generator` looks at everything, and takes seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator

MEMBERS = ("__call__", *(name for name in vars(MaskedGenerator) if not name.startswith("_")))
"""Everything that a generator has."""


def require_sound(generator: MaskedGenerator) -> None:
    """Refuse a generator that declares or returns something that decoding cannot use.

    It makes one forward pass of two images, on the CPU, wherever the generator was before.

    Raises:
        ValueError: what was expected, and what was found.
    """
    fault = declaration_fault(generator) or _answer_fault(generator.to("cpu"))
    if fault is not None:
        raise ValueError(f"generator {type(generator).__name__}: {fault}")


def declaration_fault(generator: MaskedGenerator) -> str | None:
    """Return the first fault in what a generator declares, as a sentence, or None."""
    lacking = ", ".join(repr(name) for name in MEMBERS if not hasattr(generator, name))
    if lacking:
        return f"it lacks {lacking}"
    for name in ("tokens", "codebook_size", "mask_token"):
        value = getattr(generator, name)
        if type(value) is not int:
            return f"{name} = {value!r}, expected an int"
    tokens, codes, mask = generator.tokens, generator.codebook_size, generator.mask_token
    for name, count in (("tokens", tokens), ("codebook_size", codes)):
        if count < 1:
            return f"{name} = {count}, expected 1 or more"
    if 0 <= mask < codes:
        return f"mask_token = {mask}, expected a number outside [0, {codes})"
    grid, conditions = generator.grid, generator.num_conditions
    if grid is not None and not (len(grid) == 2 and grid[0] * grid[1] == tokens):
        return f"grid = {grid!r}, expected (h, w) with h * w = {tokens} tokens"
    if not (conditions is None or (type(conditions) is int and conditions >= 1)):
        return f"num_conditions = {conditions!r}, expected None or an int of 1 or more"
    for name, value in generator.flops().items():
        if not (name in ("pass", "decode") and type(value) is int and value >= 0):
            return f"flops() has {name!r}: {value!r}, expected ints for 'pass' and 'decode'"
    return None


def _answer_fault(generator: MaskedGenerator) -> str | None:
    """Return the first fault in what a generator answers for two images, or None."""
    shape = (2, generator.tokens)
    with torch.inference_mode():
        conditions = generator.conditions_of(torch.zeros(2, dtype=torch.int64))
        for name, found in (("conditions_of", conditions), ("null", generator.null(conditions))):
            if not isinstance(found, Conditions):
                return f"{name} returned {type(found).__name__}, expected Conditions"
            if len(found) != 2:
                return f"{name} returned {len(found)} conditions for 2 images"
        logits = generator(torch.full(shape, generator.mask_token), conditions)
        # Of all codes, because the first one is often black.
        tokens = torch.linspace(0, generator.codebook_size - 1, 2 * generator.tokens).long()
        return logits_fault(logits, (*shape, generator.codebook_size)) or images_fault(
            generator.decode(tokens.view(shape)), 2
        )


def logits_fault(logits: object, shape: tuple[int, int, int]) -> str | None:
    """Return the first fault of logits that should have that shape, or None."""
    if not isinstance(logits, Tensor):
        return f"logits are a {type(logits).__name__}, expected a torch.Tensor"
    if logits.shape != shape:
        return f"logits have the shape {tuple(logits.shape)}, expected {shape}"
    if not logits.is_floating_point():
        return f"logits are {logits.dtype}, expected floating-point numbers"
    if not logits.isfinite().all():
        return "logits are not all finite"
    return None


def images_fault(images: object, count: int) -> str | None:
    """Return the first fault of `count` decoded images, or None."""
    if not isinstance(images, Tensor):
        return f"images are a {type(images).__name__}, expected a torch.Tensor"
    pictures = images.ndim == 3 or (images.ndim == 4 and images.shape[1] == 3)
    if not (pictures and len(images) == count):
        shape = tuple(images.shape)
        return f"images have the shape {shape}, expected ({count}, 3, H, W) or ({count}, H, W)"
    if not images.is_floating_point():
        return f"images are {images.dtype}, expected floating-point numbers"
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 1:
        return f"images have values in [{low:g}, {high:g}], expected [0, 1]"
    return None
