"""NAT: a masked transformer with long skip connections (AutoNAT, section 5; in the style of U-ViT).

It is conditioned on a class or on the token states of a text encoder. Its modules have the names of
the published checkpoints, so that state dicts can be exchanged.
B: images, L: tokens per image, C: tokens of the condition (1 for a class), S: C + L, P: positions
to predict, D: width, K: codebook size, E: width of a text encoder's states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.fused_gelu import linear_gelu
from models.hashes import tensors_hash

EMBEDDING_EPS = 1e-6
NULL_CONTEXT = "null_context"


@dataclass(frozen=True)
class NATConfig:
    """Sizes of a NAT.

    Attributes:
        codebook_size: K >= 1; the mask token is K.
        tokens: L >= 1.
        num_classes: the number of classes >= 1; the null class is num_classes. None for texts.
        width: D, a multiple of num_heads.
        depth: the number of blocks besides the middle one, even and >= 0.
        num_heads: the number of attention heads.
        mlp_ratio: the hidden width of the MLPs divided by D.
        dropout: the dropout of the embeddings in training, in [0, 1).
        context_width: E; None for classes.

    Raises:
        ValueError: a size is out of range.
    """

    codebook_size: int
    tokens: int
    num_classes: int | None
    width: int
    depth: int
    num_heads: int
    mlp_ratio: int = 4
    dropout: float = 0.1
    context_width: int | None = None

    def __post_init__(self) -> None:
        if (self.num_classes is None) == (self.context_width is None):
            raise ValueError(
                "expected either num_classes or context_width, got "
                f"num_classes = {self.num_classes} and context_width = {self.context_width}"
            )
        condition = "num_classes" if self.context_width is None else "context_width"
        for name in ("codebook_size", "tokens", condition, "width", "num_heads", "mlp_ratio"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} = {value!r} is not a positive integer")
        if type(self.depth) is not int or self.depth < 0 or self.depth % 2:
            raise ValueError(f"depth = {self.depth!r} is not an even number >= 0")
        if self.width % self.num_heads:
            raise ValueError(
                f"width = {self.width} is not a multiple of num_heads = {self.num_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is outside [0, 1)")

    def to_json(self) -> dict[str, Any]:
        """Return the sizes by name, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, sizes: Mapping[str, Any]) -> Self:
        """Make a config from sizes by name: the inverse of `to_json`.

        Raises:
            TypeError: a name is missing or unknown.
            ValueError: a size is out of range.
        """
        return cls(**{"num_classes": None, **sizes})


class Embedding(nn.Module):
    """Embeds words and learned positions, then LayerNorm and dropout: [B, N] -> [B, N, D]."""

    def __init__(self, words: int, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EMBEDDING_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Tensor) -> Tensor:
        """Map [B, N] int64 to [B, N, D]."""
        x = self.word_embeddings(words) + self.position_embeddings.weight
        return self.dropout(self.LayerNorm(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention, qkv without bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, at: Tensor | None = None) -> Tensor:
        """Map [B, S, D] to [B, S, D], or to [B, P, D] at the positions [B, P]."""
        if at is None:
            q, k, v = self._heads(self.qkv(x))
        else:
            width = x.shape[-1]
            (q,) = self._heads(F.linear(taken(x, at), self.qkv.weight[:width]), 1)
            k, v = self._heads(F.linear(x, self.qkv.weight[width:]), 2)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(rearrange(x, "b h s d -> b s (h d)"))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor, parts: int = 3) -> Tensor:
        x = rearrange(x, "b s (n h d) -> n b h s d", n=parts, h=self.num_heads)
        # A contiguous copy, because attention reads each part many times: saves a tenth of a
        # forward pass on the CPU. The attention of GPUs needs none.
        return x if x.is_cuda else x.contiguous()


class MLP(nn.Module):
    """Linear, GELU, linear: [B, S, D] -> [B, S, D]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        return self.fc2(linear_gelu(self.fc1, x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm block; with a skip it first merges in the output of its mirror block."""

    def __init__(self, width: int, num_heads: int, hidden: int, skip: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden)
        if skip:
            self.skip_linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, skip: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """Map [B, S, D], and in a block with a skip the mirror block's output, to [B, S, D], or to
        [B, P, D] at the positions [B, P]."""
        if skip is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = (x if at is None else taken(x, at)) + self.attn(self.norm1(x), at)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Head(nn.Module):
    """Linear, GELU, LayerNorm, product with the words: [B, L, D], [K + 1, D] -> [B, L, K + 1]."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.ln = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(1, 1, words))

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """Map [B, L, D] and words [K + 1, D] to [B, L, K + 1]."""
        x = self.ln(F.gelu(self.fc(x)))
        return F.linear(x, words, self.bias[0, 0])


class NAT(nn.Module):
    """Predicts the token of every position from the visible tokens and the condition."""

    def __init__(self, config: NATConfig) -> None:
        super().__init__()
        self.config = config
        self.mask_token, self.null_class = config.codebook_size, config.num_classes or 0
        words, width, dropout = config.codebook_size + 1, config.width, config.dropout
        self.token_emb = Embedding(words, config.tokens, width, dropout)
        self.context_embed: nn.Module
        if config.num_classes is not None:
            self.context_embed = Embedding(config.num_classes + 1, 1, width, dropout)
        if config.context_width is not None:
            self.context_embed = nn.Linear(config.context_width, width)
        # The states of the empty text, for guidance; the published files lack them.
        self.null_context: Tensor
        self.register_buffer("null_context", None, persistent=False)
        half, sizes = config.depth // 2, (width, config.num_heads, width * config.mlp_ratio)
        self.in_blocks = nn.ModuleList(Block(*sizes) for _ in range(half))
        self.mid_block = Block(*sizes)
        self.out_blocks = nn.ModuleList(Block(*sizes, skip=True) for _ in range(half))
        self.norm = nn.LayerNorm(width)
        self.mlm_layer = Head(width, words)
        # U-ViT's deviation of 0.02 suits its widths; with it narrow networks learn far more slowly.
        std = 0.02 * math.sqrt(768 / width)
        self.apply(lambda module: _initialise(module, std))

    @property
    def device(self) -> torch.device:
        """The device of the weights, on which inputs have to be."""
        return self.mlm_layer.bias.device

    def set_null_context(self, states: Tensor) -> None:
        """Set the states [C, E] that a text encoder gives for the empty text.

        Raises:
            ValueError: the states have another shape or width, or the NAT takes classes.
        """
        if self.config.context_width is None:
            raise ValueError("a NAT that takes classes has no null context")
        if states.ndim != 2 or states.shape[1] != self.config.context_width:
            raise ValueError(
                f"expected a null context of shape (C, {self.config.context_width}), got "
                f"{tuple(states.shape)}"
            )
        self.null_context = states.float().to(self.device)

    def without(self, conditions: Tensor, dropped: Tensor) -> Tensor:
        """Replace the conditions where `dropped` [B] bool is true by the null condition.

        Raises:
            ValueError: the conditions are texts, and the null context is not set or has another
                shape.
        """
        if self.config.num_classes is not None:
            return conditions.masked_fill(dropped, self.null_class)
        if self.null_context is None:
            raise ValueError("no null context is set: guidance and dropped texts need one")
        if conditions.shape[1:] != self.null_context.shape:
            raise ValueError(
                f"expected texts that each have the null context's shape "
                f"{tuple(self.null_context.shape)}, got texts of shape {tuple(conditions.shape)}"
            )
        return torch.where(dropped[:, None, None], self.null_context, conditions)

    def null(self, conditions: Tensor) -> Tensor:
        """Return as many null conditions as there are conditions."""
        return self.without(conditions, conditions.new_ones(len(conditions), dtype=torch.bool))

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that determine the logits, by name: weights and null context."""
        state: dict[str, Tensor] = self.state_dict()
        return state if self.null_context is None else {**state, NULL_CONTEXT: self.null_context}

    def hash(self) -> str:
        """Return the SHA-256 of `tensors` with their names and shapes."""
        return tensors_hash(self.tensors())

    def forward(self, tokens: Tensor, conditions: Tensor, places: Tensor | None = None) -> Tensor:
        """Predict the logits of every position, or of some, for which the last block computes less.

        Args:
            tokens: [B, L] int64 in [0, K]; K is the mask token.
            conditions: classes [B] int64 in [0, num_classes], where num_classes is the null class;
                or the states of texts [B, C, E].
            places: the positions to predict, [B, P] int64 in [0, L); None for all L.

        Returns:
            The logits, [B, L, K] or [B, P, K].

        Raises:
            ValueError: the conditions have another shape.
        """
        context = self._embed(conditions)
        x = torch.cat([context, self.token_emb(tokens)], dim=1)
        before = context.shape[1]
        at = None if places is None else places + before
        skips: list[Tensor | None] = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        skips.append(None)
        *blocks, last = self.mid_block, *self.out_blocks
        for block in blocks:
            x = block(x, skips.pop())
        x = self.norm(last(x, skips.pop(), at))
        x = x[:, before:] if places is None else x
        # Detached, as published, so that the words are trained only through the input side.
        logits = self.mlm_layer(x, self.token_emb.word_embeddings.weight.detach())
        return logits[..., : self.config.codebook_size]  # type: ignore[no-any-return]

    def _embed(self, conditions: Tensor) -> Tensor:
        """Map conditions, as in `forward`, to [B, C, D]."""
        width, shape = self.config.context_width, tuple(conditions.shape)
        if width is None:
            if conditions.ndim != 1:
                raise ValueError(
                    f"expected classes, of shape (B,), got conditions of shape {shape}"
                )
            return self.context_embed(conditions[:, None])  # type: ignore[no-any-return]
        if conditions.ndim != 3 or shape[2] != width:
            raise ValueError(
                f"expected texts, of shape (B, C, {width}), got conditions of shape {shape}"
            )
        states = conditions.to(self.mlm_layer.bias.dtype)
        return self.context_embed(states)  # type: ignore[no-any-return]


def taken(x: Tensor, at: Tensor) -> Tensor:
    """Return the vectors of x [B, S, D] at the positions [B, P]: [B, P, D]."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))


def _initialise(module: nn.Module, std: float) -> None:
    """Initialise weights from a truncated normal distribution, and biases with 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
