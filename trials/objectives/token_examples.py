"""The training examples of a NAT on tokenised images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.data.contexts import TextContexts
from models.data.token_data import TokenData
from models.training.rows import MappedRows, Rows
from trials.objectives.nat_training import HELD_OUT, Examples
from trials.objectives.real_examples import RealExamples

MOST_HELD_OUT = 4096
"""The most rows on which a validation loss is computed."""


@dataclass(frozen=True)
class TokenExamples:
    """The examples in a folder of token data, which is opened when they are needed.

    Attributes:
        folder: the folder of the token data; None where nothing is trained.
        texts: the texts to generate for, if the NAT takes texts; it is then trained on the
            captions of the data.
    """

    folder: Path | None
    texts: TextContexts | None

    def __call__(self) -> Examples:
        """The examples.

        Raises:
            ValueError: there are no token data, or they cannot be read.
        """
        if self.folder is None:
            raise ValueError("data: expected a folder of token data to train on, got None")
        data = TokenData.open(self.folder)
        if data.images < 2:
            raise ValueError(
                f"{self.folder}: expected 2 images or more, as some are held out from training, "
                f"got {data.images}"
            )
        rows = np.arange(2 * data.images)
        # An image and its mirror image are both held out, or both trained on.
        held_out = rows // 2 % HELD_OUT == 0
        spared = rows[held_out][:MOST_HELD_OUT]
        name = f"tokens {data.hash()}"
        if self.texts is not None:
            name += f", contexts {self.texts.encoder_hash}"
        return Examples(
            name,
            self._rows(data, rows),
            self._rows(data, rows[~held_out]),
            self._rows(data, spared),
        )

    def _rows(self, data: TokenData, rows: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        tokens = MappedRows(data.tokens, rows)
        if self.texts is None:
            return tokens, MappedRows(data.classes, rows)
        contexts = TextContexts.open(data)
        return tokens, MappedRows(contexts.states, contexts.of_rows(rows), torch.float32)


def texts_to_generate(prompts: TokenData | None, data: TokenData | None) -> TextContexts | None:
    """The texts to generate for, those of the prompts or else of the data; None for classes.

    Raises:
        ValueError: the prompts or their data have no captions, or another encoder encoded each.
    """
    captioned = data is not None and data.captions() is not None
    if prompts is None:
        return TextContexts.open(data) if data is not None and captioned else None
    for folder in (prompts, data):
        if folder is not None and folder.captions() is None:
            raise ValueError(f"prompts: expected captions of the images in {folder.folder}")
    found = TextContexts.open(prompts)
    if data is not None:
        trained = TextContexts.open(data)
        if trained.encoder_hash != found.encoder_hash:
            raise ValueError(
                f"prompts: expected states of {trained.encoder} with the weights "
                f"{trained.encoder_hash}, as in {data.folder}, got {found.encoder} with "
                f"{found.encoder_hash}"
            )
    return found


def real_examples(
    data: TokenData | None, texts: TextContexts | None, tokenizer_hash: Callable[[], str]
) -> RealExamples | None:
    """The real images of token data, without their mirror images.

    Args:
        data: the token data of classes; None for none.
        texts: the texts to generate for, with the images that they belong to; None for classes.
        tokenizer_hash: returns the hash of what decodes tokens. Images of texts whose tokens
            another tokenizer made are left out.
    """
    if texts is not None:
        captions = texts.data.captions()
        firsts = [] if captions is None else captions.drop_duplicates("image")["caption"].tolist()
        if texts.data.settings.tokenizer_hash != tokenizer_hash():
            return RealExamples.without_images(texts.data.tokens.shape[1], firsts)
        tokens = texts.data.tokens[::2]
        return RealExamples(tokens, np.arange(len(tokens)), firsts)
    if data is None:
        return None
    return RealExamples(data.tokens[::2], data.classes[::2], data.settings.class_names)
