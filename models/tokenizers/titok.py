"""TiTok's decoder: from the 1-D tokens of an image to its pixels.

A transformer reads the codes of the tokens and a mask token for each place of a grid. At each place
it predicts a distribution over the codes of MaskGIT's VQGAN; their mean by this distribution goes
to the VQGAN's decoder, which has weights of its own here (Yu et al. 2024, arXiv 2406.07550).
Modules have the names of the public checkpoints. There is no encoder: generators do not need it.
B: images, L: tokens per image, G: side of the grid, N: 1 + G * G + L, D: width, K: codebook size,
P: codes of the VQGAN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.flops import counted_flops
from models.hub_files import read_checkpoint
from models.state_dicts import shape_of, shapes_of, with_weights, without_numbers
from models.tokenizers.decoder import decoded_at_once
from models.tokenizers.vqgan import Decoder as PixelDecoder
from models.tokenizers.vqgan import VQGANConfig

HEAD_WIDTH = 64
"""The width of an attention head in all published tokenizers."""
A_TOKENIZER = "a tokenizer of TiTok that decodes with MaskGIT's VQGAN"
USED = ("decoder.", "quantize.", "pixel_quantize.", "pixel_decoder.")
"""The first parts of the names that decoding needs; the rest is the encoder."""
RENAMED = (
    (
        re.compile(r"^pixel_decoder\.mid\.(\d+)\."),
        lambda m: f"pixel_decoder.mid.block_{int(m[1]) + 1}.",
    ),
    (re.compile(r"\.upsample_conv\."), lambda m: ".upsample.conv."),
)
"""The names that the decoder of MaskGIT's VQGAN has in TiTok's files, and in its own file."""

T = TypeVar("T")


@dataclass(frozen=True)
class TiTokDecoderConfig:
    """Sizes of a decoder.

    Attributes:
        codebook_size: K.
        code_width: the width of a code.
        normalised: whether codes are divided by their norm.
        tokens: L.
        side: G.
        width: D.
        hidden: the hidden width of the MLPs.
        depth: the number of blocks.
        num_heads: the number of attention heads.
        inner: the hidden width of the map to the codes of the VQGAN.
        pixels: the sizes of the VQGAN.
    """

    codebook_size: int
    code_width: int
    normalised: bool
    tokens: int
    side: int
    width: int
    hidden: int
    depth: int
    num_heads: int
    inner: int
    pixels: VQGANConfig


class Attention(nn.Module):
    """Multi-head self-attention, with the names of torch's: [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = rearrange(qkv, "b n (t h d) -> t b h n d", t=3, h=self.num_heads)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(rearrange(seen, "b h n d -> b n (h d)"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm block, with the names of CLIP's: [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, num_heads)
        maps = {"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)}
        self.mlp = nn.ModuleDict(maps)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        x = x + self.attn(self.ln_1(x))
        hidden = F.gelu(self.mlp["c_fc"](self.ln_2(x)))
        return x + self.mlp["c_proj"](hidden)  # type: ignore[no-any-return]


class TokenDecoder(nn.Module):
    """Maps the codes of tokens [B, L, code_width] to logits of VQGAN codes [B, P, G, G]."""

    def __init__(self, config: TiTokDecoderConfig) -> None:
        super().__init__()
        self.side, width = config.side, config.width
        self.decoder_embed = nn.Linear(config.code_width, width)
        self.class_embedding = nn.Parameter(torch.zeros(1, width))
        self.positional_embedding = nn.Parameter(torch.zeros(config.side**2 + 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.latent_token_positional_embedding = nn.Parameter(torch.zeros(config.tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        sizes = (width, config.num_heads, config.hidden)
        self.transformer = nn.ModuleList(Block(*sizes) for _ in range(config.depth))
        self.ffn = nn.Sequential(
            nn.Conv2d(width, config.inner, 1),
            nn.Tanh(),
            nn.Conv2d(config.inner, config.pixels.codebook_size, 1),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Map [B, L, code_width] to [B, P, G, G]."""
        batch, places = len(codes), self.side**2
        known = self.decoder_embed(codes) + self.latent_token_positional_embedding
        asked = torch.cat([self.class_embedding, self.mask_token[0].expand(places, -1)])
        asked = (asked + self.positional_embedding).expand(batch, -1, -1)
        x = self.ln_pre(torch.cat([asked, known], dim=1))
        for block in self.transformer:
            x = block(x)
        x = self.ln_post(x[:, 1 : 1 + places])
        return self.ffn(rearrange(x, "b (h w) d -> b d h w", h=self.side))  # type: ignore[no-any-return]


class TiTokDecoder(nn.Module):
    """A decoder (see models.tokenizers.decoder) of sequences of tokens."""

    grid = None

    def __init__(self, config: TiTokDecoderConfig) -> None:
        super().__init__()
        self.config, self.tokens, self.codebook_size = config, config.tokens, config.codebook_size
        codes = nn.Embedding(config.codebook_size, config.code_width)
        self.quantize = nn.ModuleDict({"embedding": codes})
        self.decoder = TokenDecoder(config)
        pixel_codes = nn.Embedding(config.pixels.codebook_size, config.pixels.code_width)
        self.pixel_quantize = nn.ModuleDict({"embedding": pixel_codes})
        self.pixel_decoder = PixelDecoder(config.pixels)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] to images [B, 3, H, W] in [0, 1], a few at a time."""
        pixels = (self.config.side * 2 ** (len(self.config.pixels.channels) - 1)) ** 2
        at_once = decoded_at_once(pixels, tokens.device)
        return torch.cat([self._images(part) for part in torch.split(tokens, at_once)])

    def flops(self) -> int:
        """See `Decoder.flops`."""
        with without_numbers():
            shadow = TiTokDecoder(self.config).eval()
            tokens = torch.zeros((1, self.tokens), dtype=torch.int64)
        return counted_flops(lambda: shadow.decode(tokens))

    def _images(self, tokens: Tensor) -> Tensor:
        codes = self.quantize["embedding"](tokens)
        if self.config.normalised:
            codes = F.normalize(codes, dim=-1)
        shares = self.decoder(codes).softmax(1)
        mixed = torch.einsum(
            "b p h w, p d -> b d h w", shares, self.pixel_quantize["embedding"].weight
        )
        return self.pixel_decoder(mixed).float().clamp(0, 1)  # type: ignore[no-any-return]


def titok_decoder_config(
    shapes: Mapping[str, tuple[int, ...]], normalised: bool = True
) -> TiTokDecoderConfig:
    """Read the sizes of a decoder from the shapes of its tensors, by our names.

    Args:
        shapes: the shapes.
        normalised: whether codes are divided by their norm, which no shape shows.

    Raises:
        ValueError: the tensors are not those of a tokenizer of TiTok.
    """

    def shape(name: str, rank: int) -> tuple[int, ...]:
        return shape_of(shapes, name, rank, A_TOKENIZER)

    blocks = {name.split(".")[2] for name in shapes if name.startswith("decoder.transformer.")}
    levels = {name.split(".")[2] for name in shapes if name.startswith("pixel_decoder.up.")}
    pixel_blocks = {n.split(".")[4] for n in shapes if n.startswith("pixel_decoder.up.0.block.")}
    channels = tuple(
        shape(f"pixel_decoder.up.{level}.block.0.conv1.weight", 4)[0]
        for level in range(len(levels))
    )
    codes, code_width = shape("quantize.embedding.weight", 2)
    pixel_codes, pixel_width = shape("pixel_quantize.embedding.weight", 2)
    places, width = shape("decoder.positional_embedding", 2)
    side = math.isqrt(places - 1)
    if side**2 != places - 1:
        raise ValueError(
            "decoder.positional_embedding: expected positions of a square and one more, got "
            f"{places}"
        )
    return TiTokDecoderConfig(
        codebook_size=codes,
        code_width=code_width,
        normalised=normalised,
        tokens=shape("decoder.latent_token_positional_embedding", 2)[0],
        side=side,
        width=width,
        hidden=shape("decoder.transformer.0.mlp.c_fc.weight", 2)[0],
        depth=len(blocks),
        num_heads=max(1, width // HEAD_WIDTH),
        inner=shape("decoder.ffn.0.weight", 4)[0],
        pixels=VQGANConfig(pixel_codes, pixel_width, channels, len(pixel_blocks)),
    )


def load_titok_decoder(path: str | Path) -> TiTokDecoder:
    """Load the decoder of a tokenizer of TiTok.

    Args:
        path: a folder from Hugging Face with config.json and weights, or a file of weights, with
            its config in .json or .yaml beside it (see models.hub_files).

    Returns:
        The decoder in evaluation mode, on the CPU.

    Raises:
        ValueError: the files are missing, damaged, or not those of such a tokenizer.
    """
    checkpoint = read_checkpoint(path, USED)
    normalised = checkpoint.setting("model.vq_model.use_l2_norm", bool, True)
    state = decoding_part(checkpoint.tensors)
    try:
        config = titok_decoder_config(shapes_of(state), normalised)
        return with_weights(lambda: TiTokDecoder(config), state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def decoding_part(found: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to the decoder, by our names.

    Args:
        found: tensors, or their shapes, by public name.
    """
    ours: dict[str, T] = {}
    for name, value in found.items():
        if name.startswith(USED):
            for pattern, replacement in RENAMED:
                name = pattern.sub(replacement, name)
            ours[name] = value
    return ours
