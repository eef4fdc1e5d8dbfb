"""A training step's images and masks, and their loss (AutoNAT, section 4.1).

B: images, L: tokens an image.
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
    """One worker's part of every batch: the images rank, rank + world, …

    Several workers are processes of torch's default group; their gradients add up to those of one
    that has the whole batch.
    """

    rank: int = 0
    world: int = 1


WHOLE = Share()


@dataclass(frozen=True)
class Batch:
    """What a network sees at once, on its device.

    Attributes:
        tokens: [B, L] int64.
        masked: [B, L] bool, at least one an image.
        conditions: classes [B] int64, some of them the null class.
        weight: these masked positions over those of a worker's share of the step, on average.
        seed: of the dropouts.
    """

    tokens: Tensor
    masked: Tensor
    conditions: Tensor
    weight: float
    seed: int


def draw_batch(
    nat: NAT,
    settings: TrainingSettings,
    tokens: Rows,
    conditions: Rows,
    step: int,
    share: Share = WHOLE,
) -> list[Batch]:
    """A step's microbatches of one worker.

    Images and masks are drawn whole and on the CPU: any device and number of workers meets the
    same.
    """
    length, size = nat.config.tokens, settings.batch_size
    seed = derived_seed("training", settings.seed, step)
    with own_generator(seed):
        rows = torch.randint(len(tokens), (size,))
        masked, dropped = _draw_masks(settings, size, length)
    total = int(masked.sum())
    own = torch.arange(share.rank, size, share.world)
    found = []
    for number, part in enumerate(torch.split(own, settings.microbatch or len(own))):
        seen = conditions[rows[part]].to(nat.device)
        found.append(
            Batch(
                tokens=tokens[rows[part]].to(nat.device),
                masked=masked[part].to(nat.device),
                conditions=nat.without(seen, dropped[part].to(nat.device)),
                weight=int(masked[part].sum()) / total * share.world,
                seed=seed + 1 + number * share.world + share.rank,
            )
        )
    return found


def batch_loss(forward: nn.Module, nat: NAT, batch: Batch, label_smoothing: float) -> Tensor:
    """Cross entropy on a batch's masked positions, their mean; a scalar.

    Args:
        forward: the network, or what spreads it over workers.
        nat: the network itself.
        batch: what it sees.
        label_smoothing: in [0, 1).
    """
    logits = forward(batch.tokens.masked_fill(batch.masked, nat.mask_token), batch.conditions)
    targets = batch.tokens[batch.masked]
    return F.cross_entropy(logits[batch.masked].float(), targets, label_smoothing=label_smoothing)


@torch.inference_mode()
def validation_loss(nat: NAT, tokens: Rows, conditions: Rows, repeats: int = 4) -> float:
    """Cross entropy on masked positions under uniform mask ratios, whatever the NAT was trained
    with, so that training strategies compare; masks are the same at every call.

    Args:
        nat: in evaluation mode.
        tokens: [N, L] int64, images that were not trained on.
        conditions: classes [N] int64.
        repeats: masks an image.
    """
    plain = TrainingSettings(TrainingStrategy("uniform"), label_smoothing=0.0, class_dropout=0.0)
    losses = []
    with own_generator(0):
        for _ in range(repeats):
            for part in torch.split(torch.arange(len(tokens)), VALIDATION_BATCH):
                masked, _dropped = _draw_masks(plain, len(part), nat.config.tokens)
                seen = conditions[part].to(nat.device)
                batch = Batch(tokens[part].to(nat.device), masked.to(nat.device), seen, 1.0, 0)
                losses.append(len(part) * batch_loss(nat, nat, batch, 0.0).item())
    return math.fsum(losses) / (repeats * len(tokens))


def _draw_masks(settings: TrainingSettings, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Masked positions [B, L] and images without their condition [B], both bool, from torch's
    global generator."""
    ratios = settings.strategy.mask_ratios(torch.rand(batch, dtype=torch.float64).numpy())
    counts = torch.from_numpy(np.clip(np.round(length * ratios), 1, length))
    # A random permutation's first n places are n random positions.
    masked = torch.rand(batch, length).argsort(dim=1).argsort(dim=1) < counts[:, None]
    return masked, torch.rand(batch) < settings.class_dropout


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Torch's global generators, the CPU's and each GPU's, seeded, and given back as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
