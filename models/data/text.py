"""Frozen text encoders: from captions to token states; needs the extra `text`.

B: captions, C: tokens per caption, E: width of a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from models.hashes import tensors_hash
from models.precision import device
from models.tensor_file import check_tensors, check_types

KINDS = ("clip", "transformer")
UNUSED = ("pooler.", "decoder.")
"""Weights on which the token states of an encoder do not depend."""
FAILURES = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
"""The errors that transformers raises if a folder does not contain what it should."""


class TextEncoder:
    """Encodes captions.

    Attributes:
        name: the name that was given to `load_text_encoder`.
        tokens: C.
        width: E.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any, tokens: int) -> None:
        self.name, self.tokens = name, tokens
        self._tokenizer, self._model = tokenizer, model.eval().requires_grad_(False).to(device())
        self._clip = name.startswith("clip:")
        # Tried with the longest possible caption, so that it does not fail later in a long run.
        states = self.encode(["a " * tokens])
        if states.ndim != 3 or states.shape[1] != tokens:
            raise ValueError(
                f"expected a state for each of {tokens} tokens, got {tuple(states.shape[1:])}"
            )
        self.width = states.shape[2]

    @torch.inference_mode()
    def encode(self, captions: list[str]) -> Tensor:
        """Return the last hidden states [B, C, E] float32, on the CPU; long captions are cut.

        For CLIP the states of the padding are kept, as published; for other encoders they are 0.
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
        """Return the SHA-256 of the weights on which the states depend."""
        state = self._model.state_dict()
        return tensors_hash({n: state[n] for n in state if not n.startswith(UNUSED)})


def load_text_encoder(name: str, tokens: int) -> TextEncoder:
    """Load a text encoder by name.

    Only safetensors are read. The encoder computes in float32, whatever the precision of the file.

    Args:
        name: clip:FOLDER (the text encoder of a CLIP) or transformer:FOLDER (any encoder that
            AutoModel of transformers loads; the encoder of an encoder-decoder such as T5).
        tokens: C >= 1, at most the number of positions of the encoder, which is 77 for CLIP.

    Raises:
        ValueError: the kind is unknown, the folder lacks the model, weights or tokenizer, or the
            encoder has fewer positions.
    """
    kind, _, folder = name.partition(":")
    if kind not in KINDS or not folder:
        known = ", ".join(f"{kind}:FOLDER" for kind in KINDS)
        raise ValueError(f"encoder = {name!r} is unknown; known: {known}")
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a text encoder")
    transformers = import_transformers()
    made_by: Any = transformers.CLIPTextModel if kind == "clip" else transformers.AutoModel
    try:
        tokenizer, model = read_text_model(folder, folder, made_by, transformers.AutoTokenizer)
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        most = getattr(model.config, "max_position_embeddings", tokens)
        if 1 <= tokens <= most:
            return TextEncoder(name, tokenizer, model, tokens)
    except FAILURES as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{folder}: not a text encoder ({line})") from None
    raise ValueError(f"tokens = {tokens} is outside [1, {most}], the positions of {folder}")


def import_transformers() -> Any:
    """Return the package transformers.

    Raises:
        ValueError: it is not installed; the line names the extra.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError("transformers is not installed: pip install 'autonat[text]'") from None
    return transformers


def read_text_model(
    folder: str | Path, words: str | Path, made_by: Any, tokenised_by: Any
) -> tuple[Any, Any]:
    """Load a tokenizer and a model of transformers, in float32; only safetensors are read.

    Args:
        folder: the folder with the model's config.json and weights.
        words: the folder with the tokenizer.
        made_by: the class of the model.
        tokenised_by: the class of the tokenizer.

    Returns:
        The tokenizer and the model.

    Raises:
        ValueError: weights or words are missing or unusable; and other errors, see FAILURES.
    """
    check_types(folder, "model")
    with _silent_transformers():
        tokenizer = tokenised_by.from_pretrained(words, local_files_only=True)
        model, loading = made_by.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    _require_files(words, tokenizer, loading["missing_keys"])
    check_tensors(dict(model.named_parameters()))
    return tokenizer, model


def _require_files(folder: str | Path, tokenizer: Any, missing: set[str]) -> None:
    """Refuse missing weights or words, for which transformers would only warn."""
    names = sorted(name for name in missing if not name.startswith(UNUSED))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(f"it lacks {', '.join(names[:3])}{more}")
    files = sorted(tokenizer.vocab_files_names.values())
    if not any((Path(folder) / file).is_file() for file in files):
        raise ValueError(f"it lacks its tokenizer: {' or '.join(files)}")


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Silence the progress bars and messages of transformers within the block."""
    from transformers.utils import logging

    theirs: Any = logging
    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(theirs.CRITICAL)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        if bars:
            theirs.enable_progress_bar()
