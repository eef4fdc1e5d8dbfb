"""LlamaGen's VQ tokenizer (FoundationVision/LlamaGen): from images to codes and back.

Its modules have the names of the public checkpoint. Codes are looked up by direction alone: vectors
and codes are normalised to length 1, also before decoding.
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
KIND = "llamagen"
WHAT = "a checkpoint of LlamaGen's VQ"


@dataclass(frozen=True)
class LlamaGenConfig:
    """Sizes of the tokenizer.

    Attributes:
        codebook_size: K.
        code_width: D.
        latent: the channels between encoder and codes.
        channels: the channels of each level, from pixels to codes; each level but the last halves
            the image.
        stem: the channels of the first convolution.
        blocks: the number of residual blocks of a level of the encoder; the decoder has one more.
    """

    codebook_size: int
    code_width: int
    latent: int
    channels: tuple[int, ...]
    stem: int
    blocks: int


class ResidualBlock(nn.Module):
    """Two convolutions: [B, C, H, W] -> [B, C', H, W]."""

    def __init__(self, channels: int, to: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv1 = nn.Conv2d(channels, to, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, to, EPS)
        self.conv2 = nn.Conv2d(to, to, 3, padding=1)
        if channels != to:
            self.nin_shortcut = nn.Conv2d(channels, to, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H, W]."""
        # One name for all of them, so that as few as possible are in memory at once.
        found = self.conv1(F.silu(self.norm1(x), inplace=True))
        found = F.silu(self.norm2(found), inplace=True)
        found = self.conv2(found)
        shortcut = self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x
        return found.add_(shortcut)  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Self-attention of all places, with one head: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, EPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        seen = self.norm(x)
        q, k, v = (rearrange(w(seen), "b c h w -> b (h w) c") for w in (self.q, self.k, self.v))
        found = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(rearrange(found, "b (h w) c -> b c h w", h=x.shape[2]))  # type: ignore[no-any-return]


class Resampling(nn.Module):
    """A convolution that halves height and width, or doubles them first."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C, 2 H, 2 W] or [B, C, H / 2, W / 2]."""
        if self.up:
            give_back_freed(x)
            return self.conv(F.interpolate(x, scale_factor=2.0))  # type: ignore[no-any-return]
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # type: ignore[no-any-return]


class Level(nn.Module):
    """Residual blocks, each with attention on the level of the codes, then a change of size."""

    def __init__(self, channels: int, to: int, blocks: int, attention: bool, up: bool) -> None:
        super().__init__()
        self.res = nn.ModuleList(ResidualBlock(to if i else channels, to) for i in range(blocks))
        self.attn = nn.ModuleList(AttentionBlock(to) for _ in range(blocks if attention else 0))
        self.up = up

    def parts(self) -> list[nn.Module]:
        """Return what is done one after the other, so that the caller keeps no input too long."""
        found: list[nn.Module] = []
        for i, block in enumerate(self.res):
            found += [block, *self.attn[i : i + 1]]
        return found + [getattr(self, n) for n in ("downsample", "upsample") if hasattr(self, n)]


def _parts(levels: Iterable[nn.Module]) -> list[nn.Module]:
    return [part for level in levels for part in cast(Level, level).parts()]


def _middle(channels: int) -> nn.ModuleList:
    return nn.ModuleList(
        [
            ResidualBlock(channels, channels),
            AttentionBlock(channels),
            ResidualBlock(channels, channels),
        ]
    )


class Encoder(nn.Module):
    """Maps images [B, 3, H, W] in [-1, 1] to [B, latent, h, w]."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        channels = config.channels
        self.conv_in = nn.Conv2d(3, config.stem, 3, padding=1)
        before, last = (config.stem, *channels[:-1]), len(channels) - 1
        self.conv_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(before, channels, strict=True)):
            level = Level(a, b, config.blocks, attention=i == last, up=False)
            if i < last:
                level.downsample = Resampling(b, up=False)
            self.conv_blocks.append(level)
        self.mid = _middle(channels[-1])
        self.norm_out = nn.GroupNorm(GROUPS, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, latent, h, w]."""
        x = self.conv_in(x)
        for part in (*_parts(self.conv_blocks), *self.mid):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Maps [B, latent, h, w] to images [B, 3, H, W], approximately in [-1, 1]."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        channels = config.channels[::-1]
        self.conv_in = nn.Conv2d(config.latent, channels[0], 3, padding=1)
        self.mid = _middle(channels[0])
        before, last = (channels[0], *channels[:-1]), len(channels) - 1
        self.conv_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(before, channels, strict=True)):
            level = Level(a, b, config.blocks + 1, attention=i == 0, up=True)
            if i < last:
                level.upsample = Resampling(b, up=True)
            self.conv_blocks.append(level)
        self.norm_out = nn.GroupNorm(GROUPS, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, latent, h, w] to [B, 3, H, W]."""
        x = self.conv_in(x)
        for part in (*self.mid, *_parts(self.conv_blocks)):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))  # type: ignore[no-any-return]


class Codebook(nn.Module):
    """The codes, [K, D], of any length."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codebook_size, config.code_width)

    def forward(self) -> Tensor:
        """Return the codes of length 1, [K, D]."""
        return F.normalize(self.embedding.weight.float(), dim=1)


class LlamaGenVQ(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer)."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.factor = 2 ** (len(config.channels) - 1)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Codebook(config)
        self.quant_conv = nn.Conv2d(config.latent, config.code_width, 1)
        self.post_quant_conv = nn.Conv2d(config.code_width, config.latent, 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        vectors = self.quant_conv(self.encoder(2 * images - 1))
        flat = F.normalize(rearrange(vectors, "b d h w -> (b h w) d").float(), dim=1)
        return nearest(flat, self.quantize()).view(len(images), *vectors.shape[2:])

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        codes = rearrange(self.quantize()[tokens], "b h w d -> b d h w")
        # One by one on the CPU, where larger batches take memory and save no time.
        at_once = 1 if tokens.device.type == "cpu" else len(tokens)
        parts = torch.split(codes, max(1, at_once))
        images = torch.cat([self.decoder(self.post_quant_conv(part)).float() for part in parts])
        return images.clamp(-1, 1) / 2 + 0.5

    def hash(self) -> str:
        """Return the SHA-256 of the weights."""
        return tensors_hash(self.state_dict())


def llamagen_config(shapes: Mapping[str, tuple[int, ...]]) -> LlamaGenConfig:
    """Read the sizes of a tokenizer from the shapes of its tensors, by public name.

    Raises:
        ValueError: a tensor from which sizes are read is missing or has another rank.
    """
    levels = {name.split(".")[2] for name in shapes if name.startswith("encoder.conv_blocks.")}
    blocks = {
        name.split(".")[4] for name in shapes if name.startswith("encoder.conv_blocks.0.res.")
    }
    channels = tuple(
        shape_of(shapes, f"encoder.conv_blocks.{level}.res.0.conv1.weight", 4, WHAT)[0]
        for level in range(len(levels))
    )
    stem = shape_of(shapes, "encoder.conv_in.weight", 4, WHAT)[0]
    if not channels or any(n % GROUPS for n in (stem, *channels)):
        raise ValueError(f"expected levels with multiples of {GROUPS} channels, got {channels}")
    codes, width = shape_of(shapes, "quantize.embedding.weight", 2, WHAT)
    latent = shape_of(shapes, "quant_conv.weight", 4, WHAT)[1]
    return LlamaGenConfig(codes, width, latent, channels, stem, len(blocks))


def load_llamagen(path: str | Path) -> LlamaGenVQ:
    """Load LlamaGen's VQ from the public checkpoint; its sizes are read from the shapes.

    Args:
        path: vq_ds16_c2i.pt or another file of torch.save or safetensors (see models.tensor_file).

    Returns:
        The tokenizer in evaluation mode, on the CPU.

    Raises:
        ValueError: the file does not exist or is not a checkpoint, or tensors are missing,
            unexpected, misshapen or unusable.
    """
    state = read_tensors(path).tensors
    try:
        require_kind(KIND, state)
        config = llamagen_config(shapes_of(state))
        return with_weights(lambda: LlamaGenVQ(config), state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
