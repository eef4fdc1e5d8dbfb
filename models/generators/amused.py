"""aMUSEd as a `MaskedGenerator`: its network and VQModel from diffusers, its CLIP's text encoder.

Needs the extras `diffusers` and `text`. Of diffusers only UVit2DModel and VQModel are used, and not
the pipeline, which is deprecated (Patil et al. 2024, arXiv 2401.01808).
B: images, L = h * w: tokens per image, C: tokens of a prompt, K: codebook size.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor

from models.data.prompts import read_prompts
from models.flops import counted_flops
from models.generators.amused_texts import PromptEncoder, lacking_words, load_prompt_encoder
from models.generators.conditions import Conditions
from models.hashes import tensors_hash
from models.hub_files import PIPELINE_INDEX, HubCheckpoint, read_config, weights_in
from models.state_dicts import with_weights, without_numbers
from models.tensor_file import read_tensors
from models.tokenizers.decoder import Decoder, GridDecoder
from models.tokenizers.vq_model import load_vq_model

AESTHETIC_SCORE = 6.0
"""The score, of 10, that images are asked to have; the default of the public pipeline."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
PIPELINE = "AmusedPipeline"
SCHEDULER = "scheduler/scheduler_config.json"
NEEDED = (PIPELINE_INDEX, SCHEDULER, "tokenizer/tokenizer_config.json")
"""The files of a folder as diffusers saves it, besides those of models and of the tokenizer's
words."""
MODELS = {"transformer": WEIGHTS, "vqvae": WEIGHTS, "text_encoder": "model.safetensors"}
"""The folders of its models, and the names of their weights."""
VARIANT = "fp16"
"""Of weights, beside the usual ones; the public folders have both."""


class AmusedGenerator:
    """A generator of images for prompts.

    A condition consists of three tensors: the states of a prompt [B, C, E], its pooled vector
    [B, P], and five numbers [B, 5]: width and height in pixels, two coordinates of a crop (0), and
    the aesthetic score. The null condition is that of the empty prompt.

    Args:
        network: a diffusers.UVit2DModel with its weights, in evaluation mode.
        encoder: encodes the prompts.
        decoder: turns tokens into images.
        prompts: the prompts to generate for; if there are none, images are generated for the empty
            prompt.
        mask_token: the number of the mask token, which is not K.
        image_size: the side of the images in pixels.
    """

    def __init__(
        self,
        network: Any,
        encoder: PromptEncoder,
        decoder: Decoder,
        prompts: tuple[str, ...],
        mask_token: int,
        image_size: int,
    ) -> None:
        side: int = network.config.sample_size
        self.network, self.encoder, self.decoder = network, encoder, decoder
        self.prompts, self.num_conditions = prompts, len(prompts) or None
        self.grid, self.tokens = (side, side), side * side
        self.codebook_size: int = network.config.codebook_size
        self.mask_token = mask_token
        self._numbers = torch.tensor([[image_size, image_size, 0, 0, AESTHETIC_SCORE]])
        self._null: Conditions | None = None

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        states, pooled, numbers = conditions.parts
        logits: Tensor = self.network(
            rearrange(tokens, "b (h w) -> b h w", h=self.grid[0]),
            encoder_hidden_states=states,
            pooled_text_emb=pooled,
            micro_conds=numbers,
        )
        return rearrange(logits, "b k h w -> b (h w) k")

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """Return the conditions of the prompts with these numbers."""
        if not self.prompts:
            return self.null(Conditions(drawn))
        # Each prompt once and in the order of numbers, so that an image's condition does not depend
        # on its place among the others.
        numbers, which = torch.unique(drawn, return_inverse=True)
        found = self._encoded([self.prompts[number] for number in numbers.tolist()])
        return found[which.to(found.device)].to(drawn.device)

    def null(self, conditions: Conditions) -> Conditions:
        """Return the conditions of the empty prompt, once for each image."""
        if self._null is None:
            self._null = self._encoded([""])
        rows = conditions.parts[0].new_zeros(len(conditions), dtype=torch.int64)
        return self._null.to(conditions.device)[rows]

    def decode(self, tokens: Tensor) -> Tensor:
        """See `MaskedGenerator.decode`."""
        return self.decoder.decode(tokens)

    def flops(self) -> Mapping[str, int]:
        """See `MaskedGenerator.flops`; the prompts, which are encoded once, are not counted."""
        sizes = json.dumps(dict(self.network.config), default=str)
        passed = pass_flops(sizes, self.encoder.tokens)
        return {"pass": passed, "decode": self.decoder.flops()}

    def hash(self) -> str:
        """Return the SHA-256 of the weights of the network and of the text encoder."""
        parts = {"transformer": self.network, "text_encoder": self.encoder.model}
        return tensors_hash(
            {
                f"{part}.{name}": tensor
                for part, module in parts.items()
                for name, tensor in module.state_dict().items()
            }
        )

    def to(self, device: str | torch.device) -> Self:
        """Move this generator to a device, and return it."""
        self.network.to(device)
        self.encoder = self.encoder.to(device)
        self.decoder = self.decoder.to(device)
        self._null = None  # computed anew, so that results do not depend on where it was before
        return self

    def _encoded(self, prompts: list[str]) -> Conditions:
        states, pooled = self.encoder.encode(prompts)
        numbers = self._numbers.to(states.device).expand(len(prompts), -1)
        return Conditions(states, pooled, numbers)


def load_amused(
    path: str | Path, *, prompts: str | Path | Sequence[str] | None = None
) -> AmusedGenerator:
    """Load aMUSEd from a folder as diffusers saves it, such as a clone of amused/amused-256.

    Args:
        path: the folder with model_index.json, scheduler, text_encoder, tokenizer, transformer and
            vqvae; only safetensors are read.
        prompts: the prompts to generate for, or a file of them (see models.data.prompts); None for
            the empty prompt alone.

    Returns:
        The generator in evaluation mode, on the CPU, in float32.

    Raises:
        ValueError: an extra is not installed, a file is missing or not valid, or the files do not
            fit together.
    """
    folder = Path(path)
    _check_folder(folder)
    texts = read_prompts(prompts) if isinstance(prompts, str | Path) else tuple(prompts or ())
    network = load_network(folder / "transformer")
    config = network.config
    mask = _mask_token(folder, config.codebook_size, config.vocab_size)
    side = config.sample_size
    decoder = GridDecoder(functools.partial(load_vq_model, folder / "vqvae"), (side, side))
    tokenizer, encoder = decoder.tokenizer, load_prompt_encoder(folder)
    for what, ours, theirs in (
        ("codes of the VQModel", config.codebook_size, tokenizer.codebook_size),
        ("numbers of a state", config.encoder_hidden_size, encoder.width),
        ("numbers of a pooled vector", config.cond_embed_dim, encoder.pooled_width),
    ):
        if ours != theirs:
            raise ValueError(f"{folder}: the network expects {ours} {what}, but there are {theirs}")
    return AmusedGenerator(network, encoder, decoder, texts, mask, side * tokenizer.factor)


def load_network(folder: Path) -> Any:
    """Load a diffusers.UVit2DModel from the folder `transformer`.

    Raises:
        ValueError: diffusers is not installed, or a file is missing or not valid.
    """
    content = read_config(folder / "config.json")
    state = read_tensors(weights_in(folder, (WEIGHTS,)) or folder / WEIGHTS).tensors
    try:
        network = with_weights(lambda: network_of(content), state)
    except ValueError as error:
        raise ValueError(f"{folder}: not the network of aMUSEd ({error})") from None
    return network.requires_grad_(False)


def network_of(config: Mapping[str, Any]) -> Any:
    """Make a diffusers.UVit2DModel without numbers, on the meta device.

    Raises:
        ValueError: diffusers is not installed, or the config is of another network.
    """
    try:
        from diffusers import UVit2DModel
    except ImportError:
        raise ValueError("diffusers is not installed: pip install 'autonat[diffusers]'") from None
    made = config.get("_class_name", UVit2DModel.__name__)
    if made != UVit2DModel.__name__:
        raise ValueError(f"config.json: expected _class_name {UVit2DModel.__name__}, got {made}")
    logging.getLogger("diffusers.configuration_utils").setLevel(logging.ERROR)
    untyped: Any = UVit2DModel
    try:
        with without_numbers():
            return untyped.from_config(dict(config))
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"config.json: {line}") from None


def amused_sizes(folder: Path) -> dict[str, int]:
    """Read sizes from the configs of a folder: codebook_size, tokens and mask_token.

    Raises:
        ValueError: a file is missing or not valid.
    """
    _check_folder(folder)
    place = folder / "transformer" / "config.json"
    config = HubCheckpoint({}, read_config(place), place)
    names = ("codebook_size", "sample_size", "vocab_size")
    codes, side, words = found = [config.setting(name, int, None) for name in names]
    if None in found:
        raise ValueError(f"{place}: it lacks {names[found.index(None)]}")
    mask = _mask_token(folder, codes, words)
    return {"codebook_size": codes, "tokens": side**2, "mask_token": mask}


def _mask_token(folder: Path, codes: int, words: int) -> int:
    """The number of the mask token, which the scheduler's config has.

    Args:
        folder: of aMUSEd.
        codes: K.
        words: the words of the network, of which the first K are codes.

    Raises:
        ValueError: it is missing, or is a code or no word.
    """
    place = folder / SCHEDULER
    mask = HubCheckpoint({}, read_config(place), place).setting("mask_token_id", int, None)
    if mask is None or not codes <= mask < words:
        raise ValueError(
            f"{place}: expected mask_token_id in [{codes}, {words}), the words that are not codes, "
            f"got {mask}"
        )
    return int(mask)


@functools.cache
def pass_flops(config: str, context_tokens: int) -> int:
    """Count the floating-point operations of a forward pass for one image.

    Args:
        config: the network's config, as JSON.
        context_tokens: C.
    """
    sizes: dict[str, Any] = json.loads(config)
    network = network_of(sizes)
    with without_numbers():
        tokens = torch.zeros((1, sizes["sample_size"], sizes["sample_size"]), dtype=torch.int64)
        states = torch.zeros(1, context_tokens, sizes["encoder_hidden_size"])
        pooled, numbers = torch.zeros(1, sizes["cond_embed_dim"]), torch.zeros(1, 5)
    return counted_flops(lambda: network(tokens, states, pooled, numbers))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of aMUSEd, as diffusers saves it")
    configs = [f"{model}/config.json" for model in MODELS]
    lacking = [name for name in (*NEEDED, *configs) if not (folder / name).is_file()]
    weights = [
        f"{model}/{name}"
        for model, name in MODELS.items()
        if weights_in(folder / model, (name,)) is None
    ]
    lacking += weights
    lacking += [f"tokenizer/{name}" for name in lacking_words(folder / "tokenizer")]
    if lacking:
        variant = bool(weights) and any(folder.glob(f"*/*.{VARIANT}.*safetensors"))
        raise ValueError(
            f"{folder}: not a whole folder of aMUSEd: it lacks {', '.join(lacking)}"
            + f"; the variant {VARIANT} is not read" * variant
        )
    made = read_config(folder / PIPELINE_INDEX).get("_class_name")
    if made != PIPELINE:
        raise ValueError(f"{folder}: expected a folder of {PIPELINE}, got one of {made}")
