"""The texts of aMUSEd: prompts, and what its CLIP makes of them.

B: prompts, C: tokens of a prompt (77), E: width of a token's state, P: width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from models.data.text import FAILURES, import_transformers, read_text_model
from search.reading import read_json

AT_ONCE = 64
"""The number of prompts that are encoded at once."""
WORDS, OLDER = "tokenizer.json", {"vocab.json", "merges.txt"}
"""The files that hold the words of a tokenizer: one, or two in older folders."""


class PromptEncoder:
    """CLIP's text encoder with projection, and its tokenizer.

    Args:
        tokenizer: a transformers.CLIPTokenizer.
        model: a transformers.CLIPTextModelWithProjection.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer, self.model = tokenizer, model.eval().requires_grad_(False)
        self.tokens = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self.width, self.pooled_width = model.config.hidden_size, model.config.projection_dim

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encode prompts on the device of the encoder; long ones are cut.

        Returns:
            The states before the last layer, without the last norm, [B, C, E], where those of the
            padding count like all others; and the pooled, projected vectors, [B, P].
        """
        parts = []
        place = self.model.device
        for start in range(0, len(prompts), AT_ONCE):
            words = self.tokenizer(
                list(prompts[start : start + AT_ONCE]),
                padding="max_length",
                truncation=True,
                max_length=self.tokens,
                return_tensors="pt",
            )
            # A prompt has the same states whether or not the precision of tokens is lower.
            with torch.autocast(place.type, enabled=False):
                parts.append(self._of_words(words["input_ids"].to(place)))
        states, pooled = zip(*parts, strict=True)
        return torch.cat(states), torch.cat(pooled)

    def _of_words(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states [B, C, E] that the last layer is given, and the pooled vectors."""
        given: list[Tensor] = []
        last = self.model.text_model.encoder.layers[-1]
        # Not output_hidden_states: transformers then leaves hooks that cannot be pickled.
        hook = last.register_forward_pre_hook(lambda layer, inputs: given.append(inputs[0]))
        try:
            pooled: Tensor = self.model(input_ids=ids).text_embeds
        finally:
            hook.remove()
        return given[0], pooled

    def to(self, device: str | torch.device) -> Self:
        """Move the encoder to a device, and return it."""
        self.model.to(device)
        return self


def lacking_words(folder: Path) -> list[str]:
    """The names of the files that a tokenizer's folder lacks of those with its words."""
    held = {path.name for path in folder.glob("*")}
    return sorted((OLDER if held & OLDER and WORDS not in held else {WORDS}) - held)


def load_prompt_encoder(folder: Path) -> PromptEncoder:
    """Load the encoder from a folder as diffusers saves it.

    Args:
        folder: the folder with the whole folders text_encoder and tokenizer.

    Raises:
        ValueError: transformers is not installed, or a file is missing or not valid.
    """
    transformers = import_transformers()
    words, encoder = folder / "tokenizer", folder / "text_encoder"
    for place in words.glob("*.json"):
        read_json(place)  # names the file if it is cut off, which transformers does not
    try:
        return PromptEncoder(
            *read_text_model(
                encoder, words, transformers.CLIPTextModelWithProjection, transformers.CLIPTokenizer
            )
        )
    except FAILURES as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"{encoder}: not CLIP's text encoder, or not its tokenizer ({line})"
        ) from None
