"""Frozen text encoders: captions to token states, from a local folder; it needs the extra `text`.

B: captions, C: tokens a caption, E: width of a state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.hashes import tensors_hash
from models.precision import device

KINDS = ("clip", "transformer")


class TextEncoder:
    """Encodes captions.

    Attributes:
        name: as `load_text_encoder` was given it.
        tokens: C.
        width: E.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any, tokens: int) -> None:
        self.name, self.tokens = name, tokens
        self.width = int(model.config.hidden_size)
        self._tokenizer, self._model = tokenizer, model.eval().requires_grad_(False).to(device())
        self._clip = name.startswith("clip:")

    @torch.inference_mode()
    def encode(self, captions: list[str]) -> Tensor:
        """The last hidden states [B, C, E] float32, on the CPU; longer captions are cut.

        CLIP's are kept whole, as published; of other encoders the padding's states are zero.
        """
        words = self._tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            max_length=self.tokens,
            return_tensors="pt",
        ).to(device())
        if self._clip:
            states = self._model(input_ids=words["input_ids"]).last_hidden_state
        else:
            states = self._model(**words).last_hidden_state * words["attention_mask"][..., None]
        found: Tensor = states.float().cpu()
        return found

    def hash(self) -> str:
        """SHA-256 of the weights."""
        return tensors_hash(self._model.state_dict())


def load_text_encoder(name: str, tokens: int) -> TextEncoder:
    """An encoder by name: clip:FOLDER (the text half of a CLIP) or transformer:FOLDER (any encoder
    that transformers' AutoModel loads). Only safetensors are read.

    Args:
        name: of the encoder.
        tokens: C >= 1, at most what the encoder knows; 77 for CLIP.

    Raises:
        ValueError: another kind, no such model, or more tokens than it knows.
    """
    kind, _, folder = name.partition(":")
    if kind not in KINDS or not folder:
        known = ", ".join(f"{kind}:FOLDER" for kind in KINDS)
        raise ValueError(f"encoder = {name!r} is unknown; known: {known}")
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a text encoder")
    try:
        from transformers import AutoModel, AutoTokenizer, CLIPTextModel
    except ImportError:
        raise ValueError("transformers is not installed: pip install 'autonat[text]'") from None
    made_by: Any = CLIPTextModel if kind == "clip" else AutoModel
    reads: Any = AutoTokenizer
    try:
        tokenizer = reads.from_pretrained(folder, local_files_only=True)
        model = made_by.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{folder}: not a text encoder ({line})") from None
    most = int(model.config.max_position_embeddings)
    if not 1 <= tokens <= most:
        raise ValueError(f"tokens = {tokens} is outside [1, {most}], what {folder} knows")
    return TextEncoder(name, tokenizer, model, tokens)
