"""The images and masks of a training step, and their loss (AutoNAT, section 4.1).

B: images, L: tokens per image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.generators.nat import NAT
from models.training.rows import Rows
from models.training.settings import TrainingSettings
from search.seeds import derived_seed
from search.training_strategy import TrainingStrategy

VALIDATION_BATCH = 512


@dataclass(frozen=True)
class Share:
    """One worker's share of every batch: the images rank, rank + world, …

    Several workers are processes of torch's default group. Their gradients add up to those of one
    worker with the whole batch.
    """

    rank: int = 0
    world: int = 1


WHOLE = Share()


@dataclass(frozen=True)
class Batch:
    """The images that a network sees at once.

    Attributes:
        tokens: [B, L] int64.
        masked: which tokens are masked, [B, L] bool, at least one per image.
        conditions: classes [B] int64; or states of texts.
        dropped: which images get the null condition instead, [B] bool.
        weight: the number of masked positions over the average number of a worker's share.
        seed: the seed of the dropouts.
    """

    tokens: Tensor
    masked: Tensor
    conditions: Tensor
    dropped: Tensor
    weight: float
    seed: int

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; a GPU copies it while the CPU goes on."""

        def moved(part: Tensor) -> Tensor:
            pinned = part.pin_memory() if device.type == "cuda" else part
            return pinned.to(device, non_blocking=True)

        return Batch(
            tokens=moved(self.tokens),
            masked=moved(self.masked),
            conditions=moved(self.conditions),
            dropped=moved(self.dropped),
            weight=self.weight,
            seed=self.seed,
        )


def draw_batch(
    nat: NAT,
    settings: TrainingSettings,
    tokens: Rows,
    conditions: Rows,
    step: int,
    share: Share = WHOLE,
) -> list[Batch]:
    """Draw the microbatches of one worker for a step, on the CPU.

    Images and masks of the whole batch are drawn, so that they are the same on any device and for
    any number of workers. Any thread may draw: torch's global generators are not used.
    """
    length, size = nat.config.tokens, settings.batch_size
    seed = derived_seed("training", settings.seed, step)
    random = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(tokens), (size,), generator=random)
    masked, dropped = _draw_masks(settings, size, length, random)
    total = int(masked.sum())
    own = torch.arange(share.rank, size, share.world)
    found = []
    for number, part in enumerate(torch.split(own, settings.microbatch or len(own))):
        found.append(
            Batch(
                tokens=tokens[rows[part]],
                masked=masked[part],
                conditions=conditions[rows[part]],
                dropped=dropped[part],
                weight=int(masked[part].sum()) / total * share.world,
                seed=seed + 1 + number * share.world + share.rank,
            )
        )
    return found


def batch_loss(
    forward: nn.Module, nat: NAT, batch: Batch, label_smoothing: float, fixed: bool = False
) -> Tensor:
    """Return the mean cross entropy over the masked positions of a batch, a scalar.

    Args:
        forward: the network, or the wrapper that distributes it over workers.
        nat: the network itself.
        batch: the images, on the device of the network.
        label_smoothing: in [0, 1).
        fixed: whether to compute it at all positions, so that no shape depends on the masks, for
            which the CPU would wait. Only rounding differs.
    """
    conditions = nat.without(batch.conditions, batch.dropped)
    logits = forward(batch.tokens.masked_fill(batch.masked, nat.mask_token), conditions)
    if fixed:
        rows, all_targets = logits.flatten(0, 1).float(), batch.tokens.flatten()
        losses = F.cross_entropy(
            rows, all_targets, reduction="none", label_smoothing=label_smoothing
        )
        masked = batch.masked.flatten()
        return losses.masked_fill(~masked, 0.0).sum() / masked.sum()
    targets = batch.tokens[batch.masked]
    return F.cross_entropy(logits[batch.masked].float(), targets, label_smoothing=label_smoothing)


@torch.inference_mode()
def validation_loss(nat: NAT, tokens: Rows, conditions: Rows, repeats: int = 4) -> float:
    """Return the mean cross entropy over masked positions under uniform mask ratios.

    The mask ratios are uniform whatever the NAT was trained with, so that training strategies can
    be compared. The masks are the same at every call.

    Args:
        nat: the network, in evaluation mode.
        tokens: images that were not used for training, [N, L] int64.
        conditions: classes [N] int64, or states of texts.
        repeats: the number of masks for each image.
    """
    plain = TrainingSettings(TrainingStrategy("uniform"), label_smoothing=0.0, class_dropout=0.0)
    losses = []
    random = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        for part in torch.split(torch.arange(len(tokens)), VALIDATION_BATCH):
            masks = _draw_masks(plain, len(part), nat.config.tokens, random)
            batch = Batch(tokens[part], masks[0], conditions[part], masks[1], 1.0, 0)
            losses.append(len(part) * batch_loss(nat, nat, batch.to(nat.device), 0.0).item())
    return math.fsum(losses) / (repeats * len(tokens))


def _draw_masks(
    settings: TrainingSettings, batch: int, length: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw which positions are masked and which conditions dropped.

    Returns:
        Masked positions [B, L], and images that get the null condition [B], both bool.
    """
    drawn = torch.rand(batch, dtype=torch.float64, generator=random)
    ratios = settings.strategy.mask_ratios(drawn.numpy())
    counts = torch.from_numpy(np.clip(np.round(length * ratios), 1, length))
    # The first n places of a random permutation are n random positions.
    order = torch.rand(batch, length, generator=random).argsort(dim=1)
    first = torch.arange(length) < counts[:, None]
    masked = torch.empty(batch, length, dtype=torch.bool).scatter_(1, order, first)
    return masked, torch.rand(batch, generator=random) < settings.class_dropout


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Seed torch's global generators of CPU and GPUs within the block, then restore them."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
