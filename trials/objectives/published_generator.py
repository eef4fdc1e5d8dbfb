"""The generator of the objective `images` that a public checkpoint names, KIND:PATH."""

from __future__ import annotations

from typing import Any

from models.generators.generator import MaskedGenerator
from models.generators.registry import load_generator


def published_generator(
    weights: str,
    settings: dict[str, Any],
    grid: int | None,
    num_classes: int | None,
) -> MaskedGenerator:
    """Load the generator of KIND:PATH, whose sizes come from its file.

    Args:
        weights: KIND:PATH.
        settings: keywords of the kind; those that are None are left out.
        grid: the side of the square of tokens that is expected, or None.
        num_classes: the number of classes that is expected, or None.

    Raises:
        ValueError: the file is not of the kind, or does not have the expected sizes.
    """
    known = {name: value for name, value in settings.items() if value is not None}
    generator = load_generator(weights, **known)
    if getattr(generator, "prompts", None) == ():
        raise ValueError(
            f"prompts: {weights} takes texts, but none are given: --set prompts=FILE, with a line "
            "for each or COCO's captions, or a folder of token data with captions"
        )
    if grid is not None and generator.grid != (grid, grid):
        raise ValueError(f"grid = {grid}, but {weights} has {generator.grid}")
    if num_classes is not None and generator.num_conditions != num_classes:
        raise ValueError(
            f"num_classes = {num_classes}, but {weights} has {generator.num_conditions}"
        )
    return generator
