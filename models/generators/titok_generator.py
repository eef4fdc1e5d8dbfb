"""TiTok as a `MaskedGenerator`: a generator's weights, and its tokenizer's decoder.

B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from models.checkpoint_kinds import require_kind
from models.flops import counted_flops
from models.generators.conditions import Conditions
from models.generators.titok import TiTokConfig, TiTokNetwork, titok_config, titok_network
from models.hashes import tensors_hash
from models.hub_files import HubCheckpoint, read_checkpoint
from models.state_dicts import check_shapes
from models.tokenizers.decoder import Decoder
from models.tokenizers.titok import load_titok_decoder

NUM_HEADS = 16
"""The number of attention heads of all published generators."""
HEADS = "model.generator.num_attention_heads"
KIND = "titok"


class TiTokGenerator:
    """A generator of TiTok, which takes classes. Its tokens are a sequence, not a grid.

    Args:
        network: the network with its weights, in evaluation mode.
        decoder: turns tokens into images.
    """

    grid = None

    def __init__(self, network: TiTokNetwork, decoder: Decoder) -> None:
        config = network.config
        self.network, self.decoder = network, decoder
        self.tokens, self.codebook_size = config.tokens, config.codebook_size
        self.mask_token, self.num_conditions = config.codebook_size, config.num_classes

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        logits: Tensor = self.network(tokens, conditions.parts[0])
        return logits

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """Return the classes [B]."""
        return Conditions(drawn)

    def null(self, conditions: Conditions) -> Conditions:
        """Return the null class, once for each image."""
        return Conditions(torch.full_like(conditions.parts[0], self.num_conditions))

    def decode(self, tokens: Tensor) -> Tensor:
        """See `MaskedGenerator.decode`."""
        return self.decoder.decode(tokens)

    def flops(self) -> Mapping[str, int]:
        """See `MaskedGenerator.flops`."""
        return {"pass": pass_flops(self.network.config), "decode": self.decoder.flops()}

    def hash(self) -> str:
        """Return the SHA-256 of the weights of the network."""
        return tensors_hash(self.network.state_dict())

    def to(self, device: str | torch.device) -> Self:
        """Move this generator to a device, and return it."""
        self.network.to(device)
        self.decoder = self.decoder.to(device)
        return self


@functools.cache
def pass_flops(config: TiTokConfig) -> int:
    """Count the floating-point operations of a forward pass for one image."""
    with torch.device("meta"):
        network = titok_network(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        classes = torch.zeros(1, dtype=torch.int64)
    return counted_flops(lambda: network(tokens, classes))


def load_titok_generator(
    path: str | Path, *, tokenizer: str, num_heads: int | None = None
) -> TiTokGenerator:
    """Load a generator of TiTok, with the tokenizer that decodes its tokens.

    Args:
        path: a folder from Hugging Face with config.json and weights, or a file of weights, with
            its config in .json or .yaml beside it (see models.hub_files).
        tokenizer: titok:PATH, the path of the tokenizer, which is such a folder or file, too.
        num_heads: the number of attention heads; by default that of the config, and without a
            config 16, as in all published generators.

    Returns:
        The generator in evaluation mode, on the CPU.

    Raises:
        ValueError: a file is missing or not valid, or generator and tokenizer do not fit together.
    """
    kind, _, place = tokenizer.partition(":")
    if kind != KIND or not place:
        raise ValueError(
            f"expected tokenizer = {KIND}:PATH for a generator of TiTok, got {tokenizer}"
        )
    network = load_titok_network(path, num_heads)
    decoder = load_titok_decoder(place)
    for what, ours, theirs in (
        ("codes", network.config.codebook_size, decoder.codebook_size),
        ("tokens per image", network.config.tokens, decoder.tokens),
    ):
        if ours != theirs:
            raise ValueError(
                f"expected a tokenizer with {ours} {what}, as {path} has, but {place} has {theirs}"
            )
    return TiTokGenerator(network, decoder)


def load_titok_network(path: str | Path, num_heads: int | None = None) -> TiTokNetwork:
    """Load the network of a generator; see `load_titok_generator`.

    Raises:
        ValueError: the files are not those of a generator of TiTok.
    """
    checkpoint = read_checkpoint(path)
    heads = checkpoint.setting(HEADS, int, NUM_HEADS) if num_heads is None else num_heads
    try:
        require_kind(KIND, checkpoint.tensors)
        return _network_of(checkpoint, heads)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _network_of(checkpoint: HubCheckpoint, num_heads: int) -> TiTokNetwork:
    with torch.device("meta"):
        network = titok_network(titok_config(checkpoint.shapes, num_heads))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes(checkpoint.shapes, expected)
    network.load_state_dict(checkpoint.tensors, assign=True)
    return network.float().eval()
