"""The precision in which networks compute, and the device."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch

PRECISIONS = ("float32", "tf32", "bfloat16", "float16", "default")
"""The known precisions of matrix products and convolutions, in sums of float32. float32: single
precision. tf32: 10-bit mantissas on GPUs that have it, single precision elsewhere. bfloat16,
float16: that type. default: torch's default, in which published FIDs were computed: products like
float32, convolutions like tf32."""
STAGES = ("tokens", "pixels", "features")
NEEDS_AMPERE = {"tf32": "float32 or float16", "bfloat16": "float32 or float16"}


@dataclass(frozen=True)
class StagePrecisions:
    """The precision of each stage of an evaluation, each one of PRECISIONS.

    Attributes:
        tokens: of the generation of tokens.
        pixels: of their decoding to pixels.
        features: of the features of the images.
    """

    tokens: str = "float32"
    pixels: str = "default"
    features: str = "default"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the precision of the tokens, or of stages by name.

            >>> StagePrecisions.parse("bfloat16").tokens
            'bfloat16'
            >>> StagePrecisions.parse("tokens:bfloat16,pixels:float32").pixels
            'float32'

        Raises:
            ValueError: a stage or a precision is unknown, or a stage is named twice.
        """
        if ":" not in text:
            check_precision(text)
            return cls(text)
        found: dict[str, str] = {}
        for part in text.split(","):
            stage, _, name = (word.strip() for word in part.partition(":"))
            if stage not in STAGES or stage in found:
                raise ValueError(
                    f"precision = {text!r}: expected STAGE:PRECISION with each stage at most once "
                    f"({', '.join(STAGES)}), got {part.strip()!r}"
                )
            check_precision(name)
            found[stage] = name
        return cls(**found)

    def describe(self) -> str:
        """The precisions in the words of a protocol."""
        return "; ".join(f"{stage} {getattr(self, stage)}" for stage in STAGES)


def device() -> str:
    """Return the device of this process: "cuda" if it has a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_precision(name: str, known: tuple[str, ...] = PRECISIONS) -> None:
    """Refuse an unknown precision.

    Raises:
        ValueError: the name is not one of `known`.
    """
    if name not in known:
        raise ValueError(f"precision = {name!r} is unknown; known: {', '.join(known)}")


@functools.cache
def require_supported(name: str) -> None:
    """Refuse a precision that the GPU of this process does not have.

    Raises:
        ValueError: the GPU lacks it.
    """
    if name not in NEEDS_AMPERE or device() == "cpu":
        return
    major, minor = torch.cuda.get_device_capability()
    if major < 8:
        raise ValueError(
            f"precision = {name!r}: the GPU {torch.cuda.get_device_name()} (compute capability "
            f"{major}.{minor}) does not have it, which needs 8.0; give {NEEDS_AMPERE[name]}"
        )


@contextmanager
def computing_in(name: str, *, autocast: bool = True) -> Iterator[None]:
    """Let networks compute in one of PRECISIONS within the block.

    Args:
        name: the precision.
        autocast: whether bfloat16 and float16 cast weights and inputs at each operation, and
            keep norms and sums in float32; False for networks whose weights have that type.

    Raises:
        ValueError: the GPU of this process does not have the precision.
    """
    require_supported(name)
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    half = name in ("bfloat16", "float16") and autocast
    dtype = getattr(torch, name) if half else None
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name != "float32"
    try:
        with torch.autocast(device(), dtype=dtype, enabled=half):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
