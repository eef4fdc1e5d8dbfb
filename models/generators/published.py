"""Reads the published checkpoints of the NAT family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models.checkpoint_kinds import require_kind
from models.generators.nat import NAT, NATConfig
from models.state_dicts import shapes_of, with_weights
from models.tensor_file import read_tensors

HEADS = 8
"""The number of attention heads of the published networks for classes, which no shape shows."""
TEXT_HEADS = {1152: 16}
"""The same by the width of published networks for texts (MUSE-Pytorch, AdaNAT)."""


def load_nat(path: str | Path, num_heads: int | None = None) -> NAT:
    """Load a NAT from a published state dict; its sizes are read from the shapes of the tensors.

    A NAT that takes texts then still needs `set_null_context`.

    Args:
        path: a file of torch.save or safetensors (see models.tensor_file).
        num_heads: the number of attention heads; by default that of the published networks, HEADS
            or TEXT_HEADS.

    Returns:
        The NAT in evaluation mode, on the CPU.

    Raises:
        ValueError: the file does not exist or is not a checkpoint, or tensors are missing,
            unexpected, misshapen or unusable.
    """
    state = read_tensors(path).tensors
    try:
        require_kind("nat", state)
        shapes = shapes_of(state)
        return nat_from_state_dict(state, config_from_shapes(shapes, num_heads))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def nat_from_state_dict(state: Mapping[str, Tensor], config: NATConfig) -> NAT:
    """Make a NAT of these sizes with these tensors, in evaluation mode.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen; the first few are named.
    """
    return with_weights(lambda: NAT(config), state)


def config_from_shapes(
    shapes: Mapping[str, tuple[int, ...]], num_heads: int | None = None
) -> NATConfig:
    """Read the sizes of a NAT from the shapes of its tensors, by published name.

    Args:
        shapes: of its tensors.
        num_heads: see `load_nat`.

    Raises:
        ValueError: a tensor from which sizes are read is missing or has another rank.
    """
    text = "context_embed.weight" in shapes
    context = "context_embed.weight" if text else "context_embed.word_embeddings.weight"
    sizes = {
        "token_emb.word_embeddings.weight": 2,
        "token_emb.position_embeddings.weight": 2,
        context: 2,
        "mid_block.mlp.fc1.weight": 2,
    }
    for name, rank in sizes.items():
        if name not in shapes:
            raise ValueError(f"not a NAT checkpoint: it lacks {name}")
        if len(shapes[name]) != rank:
            raise ValueError(f"{name}: expected a shape of rank {rank}, got {shapes[name]}")
    words, width = shapes["token_emb.word_embeddings.weight"]
    known = TEXT_HEADS.get(width, HEADS) if text else HEADS
    blocks = {name.split(".")[1] for name in shapes if name.startswith("in_blocks.")}
    return NATConfig(
        codebook_size=words - 1,
        tokens=shapes["token_emb.position_embeddings.weight"][0],
        num_classes=None if text else shapes[context][0] - 1,
        context_width=shapes[context][1] if text else None,
        width=width,
        depth=2 * len(blocks),
        num_heads=known if num_heads is None else num_heads,
        mlp_ratio=shapes["mid_block.mlp.fc1.weight"][0] // width,
    )
