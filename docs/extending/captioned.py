"""A generator of your own in one file. Its captions are three tensors, its tokens are a sequence
rather than a grid, and its mask token is not the one after the last code.

B: images, L: tokens per image, K: codebook size, C: words of a caption, D: width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from models.features.features import WhitenedPixels
from models.flops import counted_flops
from models.generators.conditions import Conditions
from models.metrics.metric import RealImages, statistics_of
from trials.objectives.generator_objective import GeneratorObjective
from trials.objectives.yardstick import Yardstick

L, K, MASK, C, D = 12, 9, 15, 4, 16


class Network(nn.Module):
    """Lets tokens attend to each other and to the words of a caption: [B, L] -> [B, L, K]."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(MASK + 1, D), nn.Embedding(L, D)
        self.reads = nn.MultiheadAttention(D, 2, batch_first=True)
        self.mixes = nn.TransformerEncoderLayer(D, 2, 2 * D, batch_first=True)
        self.head = nn.Linear(D, K)
        self.pixels = nn.Linear(L, 3 * 6 * 6)

    def forward(self, tokens: Tensor, states: Tensor, pooled: Tensor, padding: Tensor) -> Tensor:
        """Predict logits from tokens [B, L], states [B, C, D], pooled [B, D], padding [B, C]."""
        x = self.words(tokens) + self.places.weight + pooled[:, None]
        x = x + self.reads(x, states, states, key_padding_mask=padding)[0]
        return self.head(self.mixes(x))  # type: ignore[no-any-return]


class Captioned:
    """See `MaskedGenerator`."""

    tokens, grid, codebook_size, mask_token = L, None, K, MASK

    def __init__(self, seed: int = 0, captions: int = 7) -> None:
        random = torch.Generator().manual_seed(seed)
        self.network = Network().eval()
        for weight in self.network.parameters():
            weight.data = torch.randn(weight.shape, generator=random) / 4
        self.num_conditions = captions
        # Row 0 is the empty caption.
        self.states = torch.randn(1 + captions, C, D, generator=random)
        self.lengths = 1 + torch.arange(1 + captions) % C

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """Predict the logits [B, L, K]."""
        logits: Tensor = self.network(tokens, *conditions.parts)
        return logits

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """Return the conditions of the captions with these numbers."""
        return self._captions(drawn + 1)

    def null(self, conditions: Conditions) -> Conditions:
        """Return the conditions of the empty caption."""
        return self._captions(conditions.parts[0].new_zeros(len(conditions), dtype=torch.int64))

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens to images [B, 3, 6, 6]."""
        return self.network.pixels(tokens / K).sigmoid().view(-1, 3, 6, 6)  # type: ignore[no-any-return]

    def flops(self) -> Mapping[str, int]:
        """Count the floating-point operations for one image."""
        one = torch.zeros(1, L, dtype=torch.int64)
        caption = self.conditions_of(torch.zeros(1, dtype=torch.int64)).to("cpu")
        network = Network().eval()
        return {
            "pass": counted_flops(lambda: network(one, *caption.parts)),
            "decode": counted_flops(lambda: network.pixels(one.float())),
        }

    def hash(self) -> str:
        """Return a hash of the weights and the captions."""
        digest = hashlib.sha256()
        for tensor in (*self.network.state_dict().values(), self.states, self.lengths):
            digest.update(tensor.cpu().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device."""
        self.network.to(device)
        return self

    def _captions(self, numbers: Tensor) -> Conditions:
        rows = numbers.cpu()
        states = self.states[rows]
        padding = torch.arange(C) >= self.lengths[rows, None]
        return Conditions(states, states.mean(1), padding).to(numbers.device)


class CaptionedObjective(GeneratorObjective[Captioned]):
    """Measures the generator on whitened pixels, against random "real" images."""

    def __init__(self, *, seed: int = 0, metric: str = "fid") -> None:
        real = torch.rand(200, 3, 6, 6, generator=torch.Generator().manual_seed(1))
        features = WhitenedPixels.fit(real)
        measured = RealImages(statistics_of(features(real)), features(real))
        yardstick = Yardstick(features, measured, metric=metric, mean_image=real.mean(0))
        super().__init__(Captioned(seed), yardstick, dataset="noise", conditions="captions")
