"""The network of Halton-MaskGIT (Besnier et al. 2025; valeoai/Halton-MaskGIT), for classes.

A transformer whose norms are shifted and scaled by the class (DiT). Its modules have the names of
the public checkpoints.
B: images, L: tokens per image, S: L and the registers, D: width, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.state_dicts import heads_of_width, shape_of

EPS = 1e-5
HEADS = {384: 6, 512: 6, 768: 12, 1024: 16}
"""The number of attention heads, which no shape shows, by the width of the published networks:
tiny, small, base and large."""
WHAT = "a checkpoint of Halton-MaskGIT"


@dataclass(frozen=True)
class HaltonConfig:
    """Sizes of the network.

    Attributes:
        codebook_size: K; the mask token is K.
        tokens: L.
        num_classes: the number of classes; the null class is num_classes.
        width: D.
        depth: the number of blocks.
        num_heads: the number of attention heads.
        inner: the width of all heads together, a multiple of num_heads; it may differ from D.
        hidden: the hidden width of the feed-forward layers.
        registers: the number of learned tokens after those of the image.

    Raises:
        ValueError: a size is out of range.
    """

    codebook_size: int
    tokens: int
    num_classes: int
    width: int
    depth: int
    num_heads: int
    inner: int
    hidden: int
    registers: int = 1

    def __post_init__(self) -> None:
        for name in ("codebook_size", "tokens", "num_classes", "depth", "num_heads"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} = {value!r} is not a positive integer")
        if self.inner % self.num_heads:
            raise ValueError(
                f"the width of all heads, {self.inner}, is not a multiple of num_heads = "
                f"{self.num_heads}"
            )


class RMSNorm(nn.Module):
    """Divides by the root of the mean square, in float32: [..., D] -> [..., D]."""

    def __init__(self, width: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        found = F.rms_norm(x.float(), self.weight.shape, self.weight, EPS)
        return (found if self.bias is None else found + self.bias).type_as(x)


class Attention(nn.Module):
    """Multi-head self-attention; queries and keys are normalised over all heads together."""

    def __init__(self, config: HaltonConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.wq, self.wk, self.wv = (
            nn.Linear(config.width, config.inner, bias=False) for _ in range(3)
        )
        self.wo = nn.Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        v = self.wv(x)
        # In the type of v, because autocast computes norms in float32.
        q, k = (
            F.rms_norm(w(x).float(), (v.shape[-1],), eps=EPS).type_as(v) for w in (self.wq, self.wk)
        )
        q, k, v = (rearrange(part, "b s (h d) -> b h s d", h=self.num_heads) for part in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v)
        return self.wo(rearrange(x, "b h s d -> b s (h d)"))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU: [B, S, D] -> [B, S, D]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x))  # type: ignore[no-any-return]


def _modulation(width: int, parts: int) -> nn.Sequential:
    """Map the class [B, D] to `parts` vectors [B, parts * D]."""
    return nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))


class Block(nn.Module):
    """Attention and feed-forward, each shifted, scaled and gated by the class."""

    def __init__(self, config: HaltonConfig) -> None:
        super().__init__()
        width = config.width
        self.mlp = _modulation(width, 6)
        self.ln1, self.ln2 = RMSNorm(width), RMSNorm(width)
        self.attn, self.ff = Attention(config), FeedForward(width, config.hidden)

    def forward(self, x: Tensor, of_class: Tensor) -> Tensor:
        """Map [B, S, D], given the class [B, D], to [B, S, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.mlp(of_class)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attn(torch.addcmul(shift1, self.ln1(x), 1 + scale1))
        return x + gate2 * self.ff(torch.addcmul(shift2, self.ln2(x), 1 + scale2))  # type: ignore[no-any-return]


class Blocks(nn.Module):
    """The blocks, one after the other."""

    def __init__(self, config: HaltonConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))

    def forward(self, x: Tensor, of_class: Tensor) -> Tensor:
        """Map [B, S, D], given the class [B, D], to [B, S, D]."""
        for block in self.layers:
            x = block(x, of_class)
        return x


class LastNorm(nn.Module):
    """A norm that is shifted and scaled by the class."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_final = RMSNorm(width, bias=True)
        self.mlp = _modulation(width, 2)

    def forward(self, x: Tensor, of_class: Tensor) -> Tensor:
        """Map [B, S, D], given the class [B, D], to [B, S, D]."""
        shift, scale = self.mlp(of_class)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, self.norm_final(x), 1 + scale)


class HaltonNetwork(nn.Module):
    """Predicts the token of every position from the visible tokens and the class."""

    def __init__(self, config: HaltonConfig) -> None:
        super().__init__()
        self.config = config
        words, width = config.codebook_size + 1, config.width
        self.cls_emb = nn.Embedding(config.num_classes + 1, width)
        self.tok_emb = nn.Embedding(words, width)
        self.pos_emb = nn.Embedding(config.tokens, width)
        if config.registers:
            self.reg_tokens = nn.Embedding(config.registers, width)
        self.transformer = Blocks(config)
        self.last_norm = LastNorm(width)
        self.head = nn.Linear(width, words)

    def forward(self, tokens: Tensor, classes: Tensor, places: Tensor | None = None) -> Tensor:
        """Predict the logits of every position, or of some.

        Args:
            tokens: [B, L] int64 in [0, K]; K is the mask token.
            classes: [B] int64 in [0, num_classes]; num_classes is the null class.
            places: [B, P] int64 in [0, L), the positions to predict; None for all.

        Returns:
            The logits, [B, L, K] or [B, P, K]. The public network also has a column for the mask
            token.
        """
        of_class = self.cls_emb(classes)
        x = self.tok_emb(tokens) + self.pos_emb.weight
        if self.config.registers:
            registers = self.reg_tokens.weight.expand(len(x), -1, -1)
            x = torch.cat([x, registers], dim=1)
        x = self.transformer(x, of_class)[:, : self.config.tokens]
        if places is not None:
            x = x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))
        x, codes = self.last_norm(x, of_class), self.config.codebook_size
        return F.linear(x, self.head.weight[:codes], self.head.bias[:codes])


def halton_config(
    shapes: Mapping[str, tuple[int, ...]], num_heads: int | None = None
) -> HaltonConfig:
    """Read the sizes of a network from the shapes of its tensors, by public name.

    Args:
        shapes: the shapes.
        num_heads: the number of attention heads; by default that of the published network of this
            width.

    Raises:
        ValueError: a tensor from which sizes are read is missing or has another rank, or the number
            of heads is not known.
    """

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(shapes, name, 2, WHAT)

    words, width = shape("tok_emb.weight")
    heads = heads_of_width(HEADS, width) if num_heads is None else num_heads
    first = "transformer.layers.0"
    layers = {n.split(".")[2] for n in shapes if n.startswith("transformer.layers.")}
    return HaltonConfig(
        codebook_size=words - 1,
        tokens=shape("pos_emb.weight")[0],
        num_classes=shape("cls_emb.weight")[0] - 1,
        width=width,
        depth=len(layers),
        num_heads=heads,
        inner=shape(f"{first}.attn.wq.weight")[0],
        hidden=shape(f"{first}.ff.w1.weight")[0],
        registers=shape("reg_tokens.weight")[0] if "reg_tokens.weight" in shapes else 0,
    )
