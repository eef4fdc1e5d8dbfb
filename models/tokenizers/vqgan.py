"""MaskGIT's VQGAN: from images to codes and back (convolutions only, no attention).

Its modules have the names of the public PyTorch checkpoint. Two peculiarities of MaskGIT are kept,
because the weights were trained with them: the shortcut of a block starts from its own output, and
images are halved by averaging.
B: images, H, W: pixels, h, w: codes, D: width of a code, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.checkpoint_kinds import require_kind
from models.hashes import tensors_hash
from models.memory import give_back_freed
from models.state_dicts import shape_of, shapes_of, with_weights
from models.tensor_file import read_tensors
from models.tokenizers.codebook import check_images, nearest

GROUPS = 32
EPS = 1e-6


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes of a VQGAN.

    Attributes:
        codebook_size: K.
        code_width: D.
        channels: the channels of each level, from pixels to codes; each level but the last halves
            the image.
        blocks: the number of residual blocks of a level.
    """

    codebook_size: int
    code_width: int
    channels: tuple[int, ...]
    blocks: int


class ResidualBlock(nn.Module):
    """Two convolutions: [B, C, H, W] -> [B, C', H, W]."""

    def __init__(self, channels: int, to: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv1 = nn.Conv2d(channels, to, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, to, EPS)
        self.conv2 = nn.Conv2d(to, to, 3, padding=1, bias=False)
        if channels != to:
            self.nin_shortcut = nn.Conv2d(to, to, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H, W]."""
        # One name for all of them, so that as few as possible are in memory at once.
        found = self.conv1(F.silu(self.norm1(x), inplace=True))
        found = F.silu(self.norm2(found), inplace=True)
        found = self.conv2(found)
        if hasattr(self, "nin_shortcut"):
            return self.nin_shortcut(found).add_(found)  # type: ignore[no-any-return]
        return found.add_(x)  # type: ignore[no-any-return]


class Upsampling(nn.Module):
    """Doubles height and width, then a convolution: [B, C, H, W] -> [B, C, 2 H, 2 W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C, 2 H, 2 W]."""
        give_back_freed(x)
        return self.conv(F.interpolate(x, scale_factor=2.0))  # type: ignore[no-any-return]


class Level(nn.Module):
    """The blocks between two changes of size; in the decoder possibly with an upsampling."""

    def __init__(self, channels: int, to: int, blocks: int, upsample: bool = False) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(to if i else channels, to) for i in range(blocks))
        if upsample:
            self.upsample = Upsampling(to)

    def parts(self) -> list[nn.Module]:
        """Return what is done one after the other, so that the caller keeps no input too long."""
        return [*self.block, *([self.upsample] if hasattr(self, "upsample") else [])]


class Encoder(nn.Module):
    """Maps images [B, 3, H, W] in [0, 1] to [B, D, h, w]."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        channels = config.channels
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        before = (channels[0], *channels[:-1])
        self.down = nn.ModuleList(
            Level(a, b, config.blocks) for a, b in zip(before, channels, strict=True)
        )
        self.mid = _middle_blocks(channels[-1])
        self.norm_out = nn.GroupNorm(GROUPS, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.code_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, D, h, w]."""
        x = self.conv_in(x)
        for i, level in enumerate(self.down):
            x = F.avg_pool2d(x, 2) if i else x
            for part in cast(Level, level).parts():
                x = part(x)
        for block in self.mid.values():
            x = block(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Maps [B, D, h, w] to images [B, 3, H, W], approximately in [0, 1]."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        channels = config.channels
        self.conv_in = nn.Conv2d(config.code_width, channels[-1], 3, padding=1)
        self.mid = _middle_blocks(channels[-1])
        before = (*channels[1:], channels[-1])
        self.up = nn.ModuleList(
            Level(a, b, config.blocks, upsample=i > 0)
            for i, (a, b) in enumerate(zip(before, channels, strict=True))
        )
        self.norm_out = nn.GroupNorm(GROUPS, channels[0], EPS)
        self.conv_out = nn.Conv2d(channels[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, D, h, w] to [B, 3, H, W]."""
        x = self.conv_in(x)
        for part in (*self.mid.values(), *_parts(reversed(self.up))):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))  # type: ignore[no-any-return]


def _parts(levels: Iterable[nn.Module]) -> list[nn.Module]:
    return [part for level in levels for part in cast(Level, level).parts()]


def _middle_blocks(channels: int) -> nn.ModuleDict:
    return nn.ModuleDict({f"block_{i}": ResidualBlock(channels, channels) for i in (1, 2)})


class VQGAN(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer)."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.factor = 2 ** (len(config.channels) - 1)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        codes = nn.Embedding(config.codebook_size, config.code_width)
        self.quantize = nn.ModuleDict({"embedding": codes})

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        codes = self.encoder(images)
        known = cast(nn.Embedding, self.quantize["embedding"]).weight
        found = nearest(rearrange(codes, "b d h w -> (b h w) d"), known)
        return found.view(len(images), *codes.shape[2:])

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        codes = rearrange(self.quantize["embedding"](tokens), "b h w d -> b d h w")
        return self.decoder(codes).float().clamp(0, 1)  # type: ignore[no-any-return]

    def hash(self) -> str:
        """Return the SHA-256 of the weights."""
        return tensors_hash(self.state_dict())


def vqgan_config(shapes: Mapping[str, tuple[int, ...]]) -> VQGANConfig:
    """Read the sizes of a VQGAN from the shapes of its tensors, by public name.

    Raises:
        ValueError: a tensor from which sizes are read is missing or has another rank.
    """
    words, width = shape_of(shapes, "quantize.embedding.weight", 2, "a VQGAN checkpoint")
    levels = {name.split(".")[2] for name in shapes if name.startswith("encoder.down.")}
    blocks = {name.split(".")[4] for name in shapes if name.startswith("encoder.down.0.block.")}
    channels = tuple(
        shape_of(shapes, f"encoder.down.{level}.block.0.conv1.weight", 4, "a VQGAN checkpoint")[0]
        for level in range(len(levels))
    )
    if not channels or not all(n % GROUPS == 0 for n in channels):
        raise ValueError(f"expected levels with multiples of {GROUPS} channels, got {channels}")
    return VQGANConfig(words, width, channels, len(blocks))


def load_vqgan(path: str | Path) -> VQGAN:
    """Load MaskGIT's VQGAN from the public PyTorch checkpoint; its sizes are read from the shapes.

    Args:
        path: a file of torch.save or safetensors (see models.tensor_file).

    Returns:
        The VQGAN in evaluation mode, on the CPU.

    Raises:
        ValueError: the file does not exist or is not a checkpoint, or tensors are missing,
            unexpected, misshapen or unusable.
    """
    state = read_tensors(path).tensors
    try:
        require_kind("vqgan", state)
        config = vqgan_config(shapes_of(state))
        return with_weights(lambda: VQGAN(config), state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
