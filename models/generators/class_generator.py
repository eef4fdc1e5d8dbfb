"""A network that takes classes, and the decoder of its tokens, as a `MaskedGenerator`.

B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from models.flops import counted_flops
from models.generators.conditions import Conditions
from models.hashes import tensors_hash
from models.state_dicts import without_numbers
from models.tokenizers.decoder import Decoder


class ClassGenerator:
    """A network that maps tokens [B, L] and classes [B] to logits [B, L, K].

    Args:
        network: with its weights, in evaluation mode. Its `config` says L (`tokens`), K
            (`codebook_size`) and the number of classes (`num_classes`). K is the mask token, and
            the number of classes is the null class.
        decoder: turns tokens into images.
        make: makes such a network, given the config.
    """

    def __init__(self, network: Any, decoder: Decoder, make: Callable[[Any], nn.Module]) -> None:
        config = network.config
        self.network, self.decoder, self.grid = network, decoder, decoder.grid
        self.tokens, self.codebook_size = config.tokens, config.codebook_size
        self.mask_token, self.num_conditions = config.codebook_size, config.num_classes
        self._make = make

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
        passed = class_pass_flops(self._make, self.network.config)
        return {"pass": passed, "decode": self.decoder.flops()}

    def hash(self) -> str:
        """Return the SHA-256 of the weights of the network."""
        return tensors_hash(self.network.state_dict())

    def to(self, device: str | torch.device) -> Self:
        """Move this generator to a device, and return it."""
        self.network.to(device)
        self.decoder = self.decoder.to(device)
        return self


@functools.cache
def class_pass_flops(make: Callable[[Any], nn.Module], config: Any) -> int:
    """Count the floating-point operations of a forward pass for one image; see `ClassGenerator`."""
    with without_numbers():
        network = make(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        classes = torch.zeros(1, dtype=torch.int64)
    return counted_flops(lambda: network(tokens, classes))
