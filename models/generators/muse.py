"""The networks of MUSE-Pytorch, which are NATs under other names (baaivision/MUSE-Pytorch).

The network for classes keeps codes, mask and classes in one table of words, and embeds the class
like a token at position 0. The network for texts is a NAT as it is; AdaNAT uses the same.
K: codebook size, L: tokens per image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models.checkpoint_kinds import kind_of_names, require_kind
from models.generators.nat import NAT
from models.generators.nat_generator import NATGenerator, with_files
from models.generators.published import nat_with_heads
from models.state_dicts import shape_of, shapes_of
from models.tensor_file import read_tensors
from models.tokenizers.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)

HEADS = {768: 12, 1152: 16}
"""The number of attention heads, which no shape shows, by the width of the published networks."""

PUBLISHED_CLASSES = 1000
WORDS = "token_emb.word_embeddings.weight"
POSITIONS = "token_emb.position_embeddings.weight"
NORM = "token_emb.LayerNorm."
CONTEXT = "context_embed."
BIAS = "mlm_layer.bias"


def load_muse_generator(
    path: str | Path,
    *,
    tokenizer: str,
    num_heads: int | None = None,
    prompts: str | Path | None = None,
) -> NATGenerator:
    """Load a network of MUSE-Pytorch, with the tokenizer that decodes its square of tokens.

    Args:
        path: the file nnet_ema.pth.
        tokenizer: see `models.tokenizers.tokenizer.load_tokenizer`. For classes it also decides
            which words are codes, since no shape does.
        num_heads: the number of attention heads; by default that of the published network of this
            width.
        prompts: a folder of token data with embedded captions, for the network that takes texts.

    Raises:
        ValueError: a file is missing or not valid, or the files do not fit together.
    """
    state = _state_in(path)  # before the tokenizer, which suits no network of another kind
    codes = load_tokenizer(tokenizer).codebook_size
    nat = _network(path, state, codes, num_heads)
    classes = nat.config.num_classes
    if classes not in (None, PUBLISHED_CLASSES):
        logger.warning(
            "%s: of its %d words, %d are taken for codes, as the tokenizer has, and %d for classes",
            *(path, len(state[WORDS]), codes, classes),
        )
    return with_files(nat, path, tokenizer, prompts)


def load_muse(path: str | Path, codebook_size: int, num_heads: int | None = None) -> NAT:
    """Load a network of MUSE-Pytorch as a NAT.

    Args:
        path: the file nnet_ema.pth (see models.tensor_file).
        codebook_size: K, for the network for classes.
        num_heads: the number of attention heads; by default that of the published network of this
            width.

    Returns:
        The NAT in evaluation mode, on the CPU; for texts it still needs `set_null_context`.

    Raises:
        ValueError: the file does not exist or is not such a checkpoint, tensors are missing,
            unexpected, misshapen or unusable, or the number of heads is not known.
    """
    return _network(path, _state_in(path), codebook_size, num_heads)


def _state_in(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, unless it is one of another kind."""
    state = read_tensors(path).tensors
    try:
        require_kind("muse", state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return state


def _network(
    path: str | Path, state: Mapping[str, Tensor], codebook_size: int, num_heads: int | None
) -> NAT:
    """The network with these tensors, in evaluation mode; `path` names their file in errors."""
    try:
        kind = kind_of_names(state)
        if kind is not None and kind.name == "muse":
            state = as_nat(state, codebook_size)
        return nat_with_heads(state, num_heads, HEADS)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def as_nat(state: Mapping[str, Tensor], codebook_size: int) -> dict[str, Tensor]:
    """Rename the tensors of the network for classes into those of a NAT.

    Args:
        state: words are K codes, the mask, then the classes, of which the last is the null class;
            positions are that of the class, then L of tokens.
        codebook_size: K.

    Raises:
        ValueError: a tensor is missing or has another shape, or no class is left beside the codes.
    """
    shapes = shapes_of(state)
    norm = ((f"{NORM}weight", 1), (f"{NORM}bias", 1))
    for name, rank in ((WORDS, 2), (POSITIONS, 2), (BIAS, 3), *norm):
        shape_of(shapes, name, rank, "a checkpoint of MUSE-Pytorch")
    words, codes = state[WORDS], codebook_size + 1
    if len(words) < codes + 2:
        raise ValueError(
            f"expected {codebook_size} codes of the tokenizer, a mask, a class and the null class, "
            f"got {len(words)} words"
        )
    found = dict(state)
    found[WORDS], found[f"{CONTEXT}word_embeddings.weight"] = words[:codes], words[codes:]
    places = state[POSITIONS]
    found[POSITIONS], found[f"{CONTEXT}position_embeddings.weight"] = places[1:], places[:1]
    found |= {n.replace("token_emb.", CONTEXT): t for n, t in state.items() if n.startswith(NORM)}
    found[BIAS] = state[BIAS][..., :codes]
    return found
