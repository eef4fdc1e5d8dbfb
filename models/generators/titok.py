"""TiTok's generators: masked transformers over the 1-D tokens of an image, given its class.

Both are MaskGIT's idea with one table of words: K codes, the mask token K, the classes from K + 1
on, and last the null class. The class stands before the tokens. L-32 and B-64 are a BERT (post-norm
blocks), S-128 is a U-ViT with NAT's blocks (Yu et al. 2024, arXiv 2406.07550). Modules have the
names of the public checkpoints.
B: images, L: tokens per image, S: 1 + L, D: width, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.generators.nat import Block
from models.state_dicts import shape_of

BERT_EPS = 1e-12
TOKEN_TYPES = 2
"""The rows of BERT's table of token types, of which only row 0 is used."""
A_GENERATOR = "a generator of TiTok"
VIT, UVIT = "ViT", "UViT"
VIT_WORDS = "model.embeddings.word_embeddings.weight"
UVIT_WORDS = "embeddings.weight"
TOKENIZER_TENSOR = "quantize.embedding.weight"


@dataclass(frozen=True)
class TiTokConfig:
    """Sizes of a generator of TiTok.

    Attributes:
        network: "ViT" or "UViT".
        codebook_size: K; the mask token is K.
        tokens: L.
        num_classes: the number of classes; the null class is num_classes.
        width: D, a multiple of num_heads.
        hidden: the hidden width of the MLPs.
        depth: the number of blocks; in a U-ViT those besides the middle one, an even number.
        num_heads: the number of attention heads.

    Raises:
        ValueError: a size is out of range.
    """

    network: str
    codebook_size: int
    tokens: int
    num_classes: int
    width: int
    hidden: int
    depth: int
    num_heads: int

    def __post_init__(self) -> None:
        for name in ("codebook_size", "tokens", "num_classes", "width", "hidden", "num_heads"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} = {value!r} is not a positive integer")
        if self.width % self.num_heads:
            raise ValueError(
                f"width = {self.width} is not a multiple of num_heads = {self.num_heads}"
            )

    @property
    def words(self) -> int:
        """The codes, the mask token, the classes and the null class."""
        return self.codebook_size + 1 + self.num_classes + 1


class BertEmbeddings(nn.Module):
    """Words, learned positions and the one token type, then LayerNorm: [B, S] -> [B, S, D]."""

    def __init__(self, words: int, positions: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(TOKEN_TYPES, width)
        self.LayerNorm = nn.LayerNorm(width, eps=BERT_EPS)

    def forward(self, words: Tensor) -> Tensor:
        """Map [B, S] int64 to [B, S, D]."""
        x = self.word_embeddings(words) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x + self.position_embeddings.weight)  # type: ignore[no-any-return]


class AddedAndNormed(nn.Module):
    """A linear map whose result is added to the residual, then LayerNorm (post-norm)."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.LayerNorm = nn.LayerNorm(width, eps=BERT_EPS)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Map [B, S, hidden] and the residual [B, S, D] to [B, S, D]."""
        return self.LayerNorm(self.dense(x) + residual)  # type: ignore[no-any-return]


class BertAttention(nn.Module):
    """Multi-head self-attention with its residual: [B, S, D] -> [B, S, D]."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        maps = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.add_module("self", nn.ModuleDict(maps))
        self.output = AddedAndNormed(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        maps = self.get_submodule("self").children()
        q, k, v = (rearrange(m(x), "b s (h d) -> b h s d", h=self.num_heads) for m in maps)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.output(rearrange(seen, "b h s d -> b s (h d)"), x)  # type: ignore[no-any-return]


class BertBlock(nn.Module):
    """A post-norm block: [B, S, D] -> [B, S, D]."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = BertAttention(width, num_heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = AddedAndNormed(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        x = self.attention(x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)  # type: ignore[no-any-return]


class ViT(nn.Module):
    """The BERT of TiTok-L-32 and TiTok-B-64; see `TiTokNetwork`."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.width, config.num_heads, config.hidden)
        blocks = nn.ModuleList(BertBlock(*sizes) for _ in range(config.depth))
        self.model = nn.ModuleDict(
            {
                "embeddings": BertEmbeddings(config.words, config.tokens + 1, config.width),
                "encoder": nn.ModuleDict({"layer": blocks}),
                "lm_head": nn.Linear(config.width, config.codebook_size),
            }
        )

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Predict the logits [B, L, K]; see `TiTokNetwork`."""
        x = self.model["embeddings"](_words(tokens, classes, self.config))
        for block in self.get_submodule("model.encoder.layer").children():
            x = block(x)
        return self.model["lm_head"](x[:, 1:])  # type: ignore[no-any-return]


class UViT(nn.Module):
    """The U-ViT of TiTok-S-128; see `TiTokNetwork`."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        if config.depth % 2:
            raise ValueError(f"depth = {config.depth} is not an even number, as a U-ViT needs")
        self.config = config
        width, half = config.width, config.depth // 2
        sizes = (width, config.num_heads, config.hidden)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens + 1, width))
        self.embeddings = nn.Embedding(config.words, width)
        self.in_blocks = nn.ModuleList(Block(*sizes) for _ in range(half))
        self.mid_block = Block(*sizes)
        self.out_blocks = nn.ModuleList(Block(*sizes, skip=True) for _ in range(half))
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, config.codebook_size)

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Predict the logits [B, L, K]; see `TiTokNetwork`."""
        x = self.embeddings(_words(tokens, classes, self.config)) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        x = self.mid_block(x)
        for block in self.out_blocks:
            x = block(x, skips.pop())
        return self.lm_head(self.norm(x)[:, 1:])  # type: ignore[no-any-return]


TiTokNetwork = ViT | UViT
"""Either network. It maps tokens [B, L] int64 in [0, K], where K is the mask token, and classes [B]
int64 in [0, num_classes], where num_classes is the null class, to the logits [B, L, K]."""


def titok_network(config: TiTokConfig) -> TiTokNetwork:
    """Make a network of these sizes, with weights as torch initialises them.

    Raises:
        ValueError: a U-ViT has an odd depth.
    """
    return ViT(config) if config.network == VIT else UViT(config)


def titok_config(shapes: Mapping[str, tuple[int, ...]], num_heads: int) -> TiTokConfig:
    """Read the sizes of a generator from the shapes of its tensors, by public name.

    Args:
        shapes: the shapes.
        num_heads: the number of attention heads, which no shape shows.

    Raises:
        ValueError: the tensors are not those of a generator, or a size is out of range.
    """
    if UVIT_WORDS in shapes:
        network, words, positions = UVIT, UVIT_WORDS, ("pos_embed", 3)
        head, mlp, block = "lm_head.weight", "mid_block.mlp.fc1.weight", "in_blocks."
    elif VIT_WORDS in shapes:
        network, words = VIT, VIT_WORDS
        positions = ("model.embeddings.position_embeddings.weight", 2)
        block = "model.encoder.layer."
        head, mlp = "model.lm_head.weight", f"{block}0.intermediate.dense.weight"
    elif TOKENIZER_TENSOR in shapes:
        raise ValueError(f"not {A_GENERATOR}: it holds {TOKENIZER_TENSOR}, as a tokenizer does")
    else:
        raise ValueError(f"not {A_GENERATOR}: it has neither {VIT_WORDS} nor {UVIT_WORDS}")
    words_count, width = shape_of(shapes, words, 2, A_GENERATOR)
    codes = shape_of(shapes, head, 2, A_GENERATOR)[0]
    hidden = shape_of(shapes, mlp, 2, A_GENERATOR)[0]
    blocks = {name.removeprefix(block).split(".")[0] for name in shapes if name.startswith(block)}
    return TiTokConfig(
        network=network,
        codebook_size=codes,
        tokens=shape_of(shapes, *positions, A_GENERATOR)[-2] - 1,
        num_classes=words_count - codes - 2,
        width=width,
        hidden=hidden,
        depth=len(blocks) * (2 if network == UVIT else 1),
        num_heads=num_heads,
    )


def _words(tokens: Tensor, classes: Tensor, config: TiTokConfig) -> Tensor:
    """Return the words [B, 1 + L]: the class, which follows the mask token, and the tokens."""
    return torch.cat([classes[:, None] + config.codebook_size + 1, tokens], dim=1)
