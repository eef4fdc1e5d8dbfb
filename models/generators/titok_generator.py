"""TiTok as a `MaskedGenerator`: a generator's weights, and its tokenizer's decoder.

B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.checkpoint_kinds import require_kind
from models.generators.class_generator import ClassGenerator
from models.generators.titok import TiTokConfig, TiTokNetwork, titok_config, titok_network
from models.hub_files import HubCheckpoint, read_checkpoint
from models.state_dicts import heads_of_width, with_weights
from models.tokenizers.titok import load_titok_decoder

HEADS = {768: 16, 1024: 16}
"""The number of attention heads, which no shape shows, by the width of the published networks."""
HEADS_SETTING = "model.generator.num_attention_heads"
SIZES_SETTINGS = {
    "model.generator.hidden_size": "width",
    "model.generator.num_hidden_layers": "depth",
    "model.generator.image_seq_len": "tokens",
    "model.generator.condition_num_classes": "num_classes",
    "model.vq_model.codebook_size": "codebook_size",
}
"""What a config says of sizes that shapes show as well."""
KIND = "titok"


def load_titok_generator(
    path: str | Path, *, tokenizer: str, num_heads: int | None = None
) -> ClassGenerator:
    """Load a generator of TiTok, with the tokenizer that decodes its tokens.

    Args:
        path: a folder from Hugging Face with config.json and weights, or a file of weights, with
            its config in .json or .yaml beside it (see models.hub_files).
        tokenizer: titok:PATH, the path of the tokenizer, which is such a folder or file, too.
        num_heads: the number of attention heads; by default that of the config, and without a
            config that of the published network of this width.

    Returns:
        The generator in evaluation mode, on the CPU.

    Raises:
        ValueError: a file is missing or not valid, or generator and tokenizer do not fit together.
    """
    network = load_titok_network(path, num_heads)
    kind, _, place = tokenizer.partition(":")
    if kind != KIND or not place:
        raise ValueError(
            f"expected tokenizer = {KIND}:PATH for a generator of TiTok, got {tokenizer}"
        )
    decoder = load_titok_decoder(place)
    for what, ours, theirs in (
        ("codes", network.config.codebook_size, decoder.codebook_size),
        ("tokens per image", network.config.tokens, decoder.tokens),
    ):
        if ours != theirs:
            raise ValueError(
                f"expected a tokenizer with {ours} {what}, as {path} has, but {place} has {theirs}"
            )
    return ClassGenerator(network, decoder, titok_network)


def load_titok_network(path: str | Path, num_heads: int | None = None) -> TiTokNetwork:
    """Load the network of a generator; see `load_titok_generator`.

    Raises:
        ValueError: the files are not those of a generator of TiTok.
    """
    checkpoint = read_checkpoint(path)
    heads = checkpoint.setting(HEADS_SETTING, int, None) if num_heads is None else num_heads
    try:
        require_kind(KIND, checkpoint.tensors)
        config = titok_config(checkpoint.shapes, 1 if heads is None else heads)
        require_config(checkpoint, config)
        if heads is None:
            config = replace(config, num_heads=heads_of_width(HEADS, config.width))
        return with_weights(lambda: titok_network(config), checkpoint.tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def require_config(checkpoint: HubCheckpoint, config: TiTokConfig) -> None:
    """Refuse a config of another model: it also has the heads, which no shape shows.

    Args:
        checkpoint: has the config.
        config: the sizes that the shapes show.

    Raises:
        ValueError: a size differs; the line names both.
    """
    for name, size in SIZES_SETTINGS.items():
        told, own = checkpoint.told(name), getattr(config, size)
        if type(told) is int and told != own:  # it may be a reference to another setting
            raise ValueError(
                f"{checkpoint.config_path} is of another model: {name} is {told}, but the weights "
                f"have {own}"
            )
