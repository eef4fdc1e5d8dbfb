"""NAT as a `MaskedGenerator`: its weights, its conditions and its decoder.

B: images, L: tokens per image, C: tokens of a text, E: width of its states, K: codebook size.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from models.data.contexts import TextContexts
from models.data.token_data import RUN, SETTINGS, TokenData
from models.flops import counted_flops
from models.generators.conditions import Conditions
from models.generators.nat import NAT, NATConfig
from models.generators.published import load_nat
from models.state_dicts import without_numbers
from models.tokenizers.decoder import Decoder, square_decoder


class NATGenerator:
    """A NAT that generates for classes, or for the captions of token data.

    Without weights it can do everything except `__call__`, `logits_at`, `null` and `hash`. Decoding
    calls `__call__` in the first step alone, so a class that changes logits overrides both.

    Args:
        config: the sizes of the NAT.
        decoder: turns tokens into images.
        prompts: the captions to generate for; None for a NAT that takes classes.
        nat: the network with its weights, in evaluation mode.

    Raises:
        ValueError: a NAT that takes texts has no prompts, one that takes classes has prompts, or
            the decoder's grid does not have the NAT's number of tokens.
    """

    def __init__(
        self,
        config: NATConfig,
        decoder: Decoder,
        prompts: TextContexts | None = None,
        nat: NAT | None = None,
    ) -> None:
        if (config.context_width is None) != (prompts is None):
            raise ValueError(
                "a NAT that takes texts needs prompts, and a NAT that takes classes has no prompts"
            )
        if decoder.grid is not None and math.prod(decoder.grid) != config.tokens:
            h, w = decoder.grid
            raise ValueError(
                f"expected {h} x {w} = {h * w} tokens per image, as the decoder has, got "
                f"{config.tokens}"
            )
        self.config, self.decoder, self.prompts, self._nat = config, decoder, prompts, nat
        self.tokens, self.grid, self.codebook_size = (
            config.tokens,
            decoder.grid,
            config.codebook_size,
        )
        self.mask_token = config.codebook_size
        self.num_conditions = config.num_classes if prompts is None else len(prompts.first)

    def with_weights(self, nat: NAT) -> Self:
        """Return the same generator with other weights; both share the decoder."""
        return type(self)(self.config, self.decoder, self.prompts, nat)

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """See `models.generators.generator.Casts`; both share the decoder."""
        with torch.inference_mode(False), torch.no_grad():  # compilers want common tensors
            return self.with_weights(copy.deepcopy(self.nat).to(dtype))

    @property
    def loaded(self) -> bool:
        """Whether it has weights."""
        return self._nat is not None

    @property
    def nat(self) -> NAT:
        """The network.

        Raises:
            RuntimeError: it has no weights.
        """
        if self._nat is None:
            raise RuntimeError("the NAT has no weights: call prepare to train or load them")
        return self._nat

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        logits: Tensor = self.nat(tokens, conditions.parts[0])
        return logits

    def logits_at(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        """See `PredictsPlaces.logits_at`."""
        logits: Tensor = self.nat(tokens, conditions.parts[0], places)
        return logits

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """Return the classes [B], or the states [B, C, E] of the first caption of each image."""
        if self.prompts is None:
            return Conditions(drawn)
        return Conditions(self.prompts.of_images(drawn.cpu().numpy()).to(drawn.device))

    def null(self, conditions: Conditions) -> Conditions:
        """Return the null class or the states of the empty text, once for each image."""
        return Conditions(self.nat.null(conditions.parts[0]))

    def decode(self, tokens: Tensor) -> Tensor:
        """See `MaskedGenerator.decode`."""
        return self.decoder.decode(tokens)

    def flops(self) -> Mapping[str, int]:
        """See `MaskedGenerator.flops`; weights are not needed."""
        context_tokens = 1 if self.prompts is None else self.prompts.states.shape[1]
        return {
            "pass": pass_flops(self.config, context_tokens),
            "decode": self.decoder.flops(),
        }

    def hash(self) -> str:
        """Return a hash of the weights and, if it takes texts, of the states of the empty text."""
        return self.nat.hash()

    def to(self, device: str | torch.device) -> Self:
        """Move the loaded parts of this generator to a device, and return it."""
        if self._nat is not None:
            self._nat.to(device)
        self.decoder = self.decoder.to(device)
        return self


@functools.cache
def pass_flops(config: NATConfig, context_tokens: int = 1) -> int:
    """Count the floating-point operations of a NAT's forward pass for one image.

    A step with guidance takes two forward passes.

    Args:
        config: the sizes of the network.
        context_tokens: C, for texts.
    """
    with without_numbers():
        nat = NAT(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        conditions = torch.zeros(1, dtype=torch.int64)
        if config.context_width is not None:
            conditions = torch.zeros(1, context_tokens, config.context_width)
    return counted_flops(lambda: nat(tokens, conditions))


def load_nat_generator(
    path: str | Path,
    *,
    tokenizer: str,
    num_heads: int | None = None,
    prompts: str | Path | None = None,
) -> NATGenerator:
    """Load a NAT from a published checkpoint, with the tokenizer that decodes its square of tokens.

    Args:
        path: the path of the checkpoint (see `models.generators.published.load_nat`).
        tokenizer: see `models.tokenizers.tokenizer.load_tokenizer`.
        num_heads: the number of attention heads; by default that of the published networks.
        prompts: a folder of token data with embedded captions, for a NAT that takes texts.

    Raises:
        ValueError: a file is missing or not valid, or the files do not fit together.
    """
    return with_files(load_nat(path, num_heads), path, tokenizer, prompts)


def with_files(
    nat: NAT, path: str | Path, tokenizer: str, prompts: str | Path | None
) -> NATGenerator:
    """Put a NAT together with the files beside its weights.

    Args:
        nat: the network.
        path: of its weights, for error lines.
        tokenizer: decodes its square of tokens.
        prompts: a folder of token data with embedded captions, for a NAT that takes texts.

    Raises:
        ValueError: a file is missing or not valid, or the files do not fit together.
    """
    config = nat.config
    if (config.context_width is None) != (prompts is None):
        needs = "texts: give prompts" if prompts is None else "classes: leave out prompts"
        raise ValueError(f"{path} is of a network that takes {needs}")
    decoder = square_decoder(tokenizer, path, config.tokens, config.codebook_size)
    if prompts is not None and not any((Path(prompts) / f).is_file() for f in (SETTINGS, RUN)):
        raise ValueError(
            f"prompts: expected a folder of token data with embedded captions, as autonat tokenize "
            f"and autonat embed make it, got {prompts}"
        )
    texts = None if prompts is None else TextContexts.open(TokenData.open(prompts))
    if texts is not None:
        width = texts.states.shape[2]
        if width != config.context_width:
            raise ValueError(
                f"{prompts}: expected states of width {config.context_width}, as {path} takes, got "
                f"{width}"
            )
        nat.set_null_context(texts.null)
    return NATGenerator(config, decoder, texts, nat)
