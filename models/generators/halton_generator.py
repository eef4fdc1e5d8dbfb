"""Halton-MaskGIT as a `MaskedGenerator`: a network's weights, and the decoder of its tokens.

B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from models.checkpoint_kinds import require_kind
from models.flops import counted_flops
from models.generators.conditions import Conditions
from models.generators.halton import HaltonConfig, HaltonNetwork, halton_config
from models.hashes import tensors_hash
from models.state_dicts import check_shapes
from models.tensor_file import read_tensors
from models.tokenizers.decoder import Decoder, GridDecoder
from models.tokenizers.tokenizer import load_tokenizer

KIND = "halton"


class HaltonGenerator:
    """A network of Halton-MaskGIT, which takes classes.

    Args:
        network: the network with its weights, in evaluation mode.
        decoder: turns tokens into images.
    """

    def __init__(self, network: HaltonNetwork, decoder: Decoder) -> None:
        config = network.config
        self.network, self.decoder, self.grid = network, decoder, decoder.grid
        self.tokens, self.codebook_size = config.tokens, config.codebook_size
        self.mask_token, self.num_conditions = config.codebook_size, config.num_classes

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        logits: Tensor = self.network(tokens, conditions.parts[0])
        return logits

    def logits_at(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        """See `PredictsPlaces.logits_at`."""
        logits: Tensor = self.network(tokens, conditions.parts[0], places)
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
def pass_flops(config: HaltonConfig) -> int:
    """Count the floating-point operations of a forward pass for one image."""
    with torch.device("meta"):
        network = HaltonNetwork(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        classes = torch.zeros(1, dtype=torch.int64)
    return counted_flops(lambda: network(tokens, classes))


def load_halton_generator(
    path: str | Path, *, tokenizer: str, num_heads: int | None = None
) -> HaltonGenerator:
    """Load a network of Halton-MaskGIT, with the tokenizer that decodes its square of tokens.

    Args:
        path: ImageNet_256_base.pth or the like.
        tokenizer: llamagen:vq_ds16_c2i.pt (see `models.tokenizers.tokenizer.load_tokenizer`).
        num_heads: the number of attention heads; by default that of the published network of this
            width.

    Raises:
        ValueError: a file is missing or not valid, or the files do not fit together.
    """
    network = load_halton(path, num_heads)
    config = network.config
    side = math.isqrt(config.tokens)
    if side * side != config.tokens:
        raise ValueError(f"{path}: expected a square of tokens, got {config.tokens} tokens")
    decoder = GridDecoder(functools.partial(load_tokenizer, tokenizer), (side, side))
    codes = decoder.tokenizer.codebook_size
    if codes != config.codebook_size:
        raise ValueError(
            f"expected a tokenizer with {config.codebook_size} codes, as {path} has, but "
            f"{tokenizer} has {codes}"
        )
    return HaltonGenerator(network, decoder)


def load_halton(path: str | Path, num_heads: int | None = None) -> HaltonNetwork:
    """Load a network of Halton-MaskGIT; its sizes are read from the shapes of the tensors.

    Args:
        path: a file of torch.save or safetensors (see models.tensor_file). The state of the
            optimiser in the public files is not read.
        num_heads: see `load_halton_generator`.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        ValueError: the file does not exist or is not such a checkpoint, tensors are missing,
            unexpected, misshapen or unusable, or the number of heads is not known.
    """
    state = read_tensors(path).tensors
    try:
        require_kind(KIND, state)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        with torch.device("meta"):
            network = HaltonNetwork(halton_config(shapes, num_heads))
        check_shapes(shapes, {n: tuple(t.shape) for n, t in network.state_dict().items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    network.load_state_dict(state, assign=True)
    return network.float().eval()
