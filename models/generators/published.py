"""Reads the published checkpoints of the NAT family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from models.checkpoint_kinds import require_kind
from models.generators.nat import NAT, NATConfig
from models.state_dicts import heads_of_width, shape_of, shapes_of, with_weights
from models.tensor_file import read_tensors

HEADS = {512: 8, 768: 8, 1152: 16}
"""The number of attention heads, which no shape shows, by the width of the published networks:
AutoNAT-S, AutoNAT-L, and AdaNAT for texts."""
WHAT = "a NAT checkpoint"


def load_nat(path: str | Path, num_heads: int | None = None) -> NAT:
    """Load a NAT from a published state dict; its sizes are read from the shapes of the tensors.

    A NAT that takes texts then still needs `set_null_context`.

    Args:
        path: a file of torch.save or safetensors (see models.tensor_file).
        num_heads: the number of attention heads; by default that of the published network of this
            width.

    Returns:
        The NAT in evaluation mode, on the CPU.

    Raises:
        ValueError: the file does not exist or is not a checkpoint, tensors are missing, unexpected,
            misshapen or unusable, or the number of heads is not known.
    """
    state = read_tensors(path).tensors
    try:
        require_kind("nat", state)
        return nat_with_heads(state, num_heads, HEADS)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def nat_with_heads(
    state: Mapping[str, Tensor], num_heads: int | None, known: Mapping[int, int]
) -> NAT:
    """Make a NAT with these tensors, in evaluation mode.

    Args:
        state: its tensors, by published name.
        num_heads: the number of attention heads; None for that of the published network.
        known: that number by width, of the published networks.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen, or the number of heads is not
            known.
    """
    config = config_from_shapes(shapes_of(state), 1 if num_heads is None else num_heads)
    found = nat_from_state_dict(state, config)
    if num_heads is not None:
        return found
    heads = heads_of_width(known, config.width)
    return nat_from_state_dict(state, replace(config, num_heads=heads))


def nat_from_state_dict(state: Mapping[str, Tensor], config: NATConfig) -> NAT:
    """Make a NAT of these sizes with these tensors, in evaluation mode.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen; the first few are named.
    """
    return with_weights(lambda: NAT(config), state)


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], num_heads: int) -> NATConfig:
    """Read the sizes of a NAT from the shapes of its tensors, by published name.

    Args:
        shapes: of its tensors.
        num_heads: the number of attention heads, which no shape shows.

    Raises:
        ValueError: a tensor from which sizes are read is missing or has another rank, or a size is
            out of range.
    """

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(shapes, name, 2, WHAT)

    words, width = shape("token_emb.word_embeddings.weight")
    text = "context_embed.weight" in shapes
    context = shape("context_embed.weight" if text else "context_embed.word_embeddings.weight")
    blocks = {name.split(".")[1] for name in shapes if name.startswith("in_blocks.")}
    return NATConfig(
        codebook_size=words - 1,
        tokens=shape("token_emb.position_embeddings.weight")[0],
        num_classes=None if text else context[0] - 1,
        context_width=context[1] if text else None,
        width=width,
        depth=2 * len(blocks),
        num_heads=num_heads,
        mlp_ratio=shape("mid_block.mlp.fc1.weight")[0] // width,
    )
