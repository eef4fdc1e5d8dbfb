"""Halton-MaskGIT as a `MaskedGenerator`: a network's weights, and the decoder of its tokens.

B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from models.checkpoint_kinds import require_kind
from models.generators.class_generator import ClassGenerator
from models.generators.conditions import Conditions
from models.generators.halton import HaltonNetwork, halton_config
from models.state_dicts import shapes_of, with_weights
from models.tensor_file import read_tensors
from models.tokenizers.decoder import Decoder, square_decoder

KIND = "halton"


class HaltonGenerator(ClassGenerator):
    """A network of Halton-MaskGIT, which can predict the logits of some places alone.

    Args:
        network: the network with its weights, in evaluation mode.
        decoder: turns tokens into images.
    """

    def __init__(self, network: HaltonNetwork, decoder: Decoder) -> None:
        super().__init__(network, decoder, HaltonNetwork)

    def logits_at(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        """See `PredictsPlaces.logits_at`."""
        logits: Tensor = self.network(tokens, conditions.parts[0], places)
        return logits


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
    decoder = square_decoder(tokenizer, path, config.tokens, config.codebook_size)
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
        config = halton_config(shapes_of(state), num_heads)
        return with_weights(lambda: HaltonNetwork(config), state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
