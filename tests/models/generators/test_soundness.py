"""The first look at a generator says in one line what decoding or measuring could not use."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from docs.extending.captioned import Captioned, K
from models.generators.conditions import Conditions
from models.generators.soundness import require_sound
from models.testing import check_generator


def logits_of(self: Captioned, tokens: Tensor, conditions: Conditions) -> Tensor:
    return Captioned.__call__(self, tokens, conditions)


def grey(tokens: Tensor) -> Tensor:
    """Plain images of 3 x 4 pixels, whose first code is black."""
    return (tokens / (K - 1)).view(-1, 3, 4)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "integer logits": (
        {"__call__": lambda *given: logits_of(*given).long()},
        "logits are torch.int64, expected floating-point numbers",
    ),
    "logits of NumPy": (
        {"__call__": lambda *given: logits_of(*given).numpy()},
        "logits are a ndarray, expected a torch.Tensor",
    ),
    "images to 255": (
        {"decode": lambda _, tokens: 255 * grey(tokens)},
        r"images have values in \[0, 255\], expected \[0, 1\]",
    ),
    "images of 8 bits": (
        {"decode": lambda _, tokens: (255 * grey(tokens)).byte()},
        "images are torch.uint8, expected floating-point numbers",
    ),
    "images of NumPy": (
        {"decode": lambda _, tokens: grey(tokens).numpy()},
        "images are a ndarray, expected a torch.Tensor",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    changed, line = FAULTS[fault]
    generator = type("Broken", (Captioned,), changed)()
    with pytest.raises(ValueError, match=f"generator Broken: {line}"):
        require_sound(generator)
    if fault != "images to 255":  # random tokens of the suite need not have the last code
        with pytest.raises(AssertionError, match=line):
            check_generator(generator)


def test_what_is_lacking_is_named_in_quotes() -> None:
    lacking = type("Lacking", (), {"tokens": 4})()
    with pytest.raises(ValueError, match="generator Lacking: it lacks '__call__', 'grid'"):
        require_sound(lacking)


def test_a_sound_one_passes() -> None:
    require_sound(Captioned())
