"""Trains a NAT on token grids (AutoNAT, section 4.1 and its published settings).

Every step's randomness derives from (seed, step) alone, so that a run killed at any moment goes
on from its last checkpoint to the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.nat import NAT, NATConfig
from search.training_strategy import TrainingStrategy

CHECKPOINT = "training.pt"
CHECKPOINT_EVERY = 200
REPORT_EVERY = 20


@dataclass(frozen=True)
class TrainingSettings:
    """How a NAT is trained. The defaults are the published ones for ImageNet-256.

    Attributes:
        strategy: the distribution of mask ratios.
        steps: optimiser steps.
        batch_size: images a step.
        learning_rate: of AdamW, after warmup_steps of linear warm-up.
        betas: of AdamW.
        weight_decay: of AdamW.
        label_smoothing: in [0, 1).
        class_dropout: chance that a class is replaced by the null class, in [0, 1).
        ema_decay: of the average of weights that is returned, in [0, 1).
        seed: of the weights, batches, masks and dropouts.

    Raises:
        ValueError: a value outside its range.
    """

    strategy: TrainingStrategy
    steps: int = 500_000
    batch_size: int = 2048
    learning_rate: float = 4e-4
    warmup_steps: int = 5000
    betas: tuple[float, float] = (0.99, 0.99)
    weight_decay: float = 0.03
    label_smoothing: float = 0.1
    class_dropout: float = 0.15
    ema_decay: float = 0.9999
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("warmup_steps", 0), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"training {name} = {value!r} is not an integer >= {least}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate = {self.learning_rate} is not positive and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay = {self.weight_decay} is negative or not finite")
        for name in ("label_smoothing", "class_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is outside [0, 1)")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas} are not both in [0, 1)")


def train(
    config: NATConfig,
    settings: TrainingSettings,
    tokens: Tensor,
    classes: Tensor,
    folder: Path,
    report: Callable[[int, int, str], None],
) -> NAT:
    """Train to the end; see `train_in_rungs`."""
    *_, trained = train_in_rungs(
        config, settings, tokens, classes, folder, report, (settings.steps,)
    )
    return trained


def train_in_rungs(
    config: NATConfig,
    settings: TrainingSettings,
    tokens: Tensor,
    classes: Tensor,
    folder: Path,
    report: Callable[[int, int, str], None],
    rungs: Sequence[int],
    start: NAT | None = None,
) -> Iterator[NAT]:
    """Train, going on from the folder's checkpoint where there is one.

    Args:
        config: the network's sizes.
        settings: how to train.
        tokens: [N, L] int64 in [0, K).
        classes: [N] int64.
        folder: for the checkpoint, which is kept; one folder a (config, settings, start).
        report: called with (steps done, steps, loss as text).
        rungs: growing numbers of steps; a checkpoint that has more behind it than the first (see
            `steps_behind`) is no checkpoint for it.
        start: weights to go on from in place of new ones, those of a network of these sizes.

    Yields:
        At each rung the averaged weights, in evaluation mode; they change with the next.

    Raises:
        ValueError: the loss is not finite; the folder's checkpoint is not one of this network, or
            beyond the first rung.
    """
    with _own_generator(settings.seed):
        nat = NAT(config).train()
        if start is not None:
            nat.load_state_dict(start.state_dict())
        average = AveragedModel(nat, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))  # type: ignore[no-untyped-call]
    optimiser = torch.optim.AdamW(
        nat.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    done = _resume(folder / CHECKPOINT, nat, average, optimiser)
    if done > rungs[0]:
        raise ValueError(f"{folder / CHECKPOINT} has {done} steps behind it, more than {rungs[0]}")
    for rung in rungs:
        for step in range(done, rung):
            loss = _step(nat, average, optimiser, settings, tokens, classes, step)
            last = step + 1 == rung
            if last or (step + 1) % REPORT_EVERY == 0:
                if not math.isfinite(loss.item()):
                    raise ValueError(f"training diverged: loss = {loss.item()} at step {step + 1}")
                report(step + 1, settings.steps, f"loss {loss.item():.3f}")
            if last or (step + 1) % CHECKPOINT_EVERY == 0:
                _save(folder / CHECKPOINT, step + 1, nat, average, optimiser)
        done = rung
        trained: NAT = average.module  # type: ignore[assignment]
        yield trained.eval()


def _step(
    nat: NAT,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    settings: TrainingSettings,
    tokens: Tensor,
    classes: Tensor,
    step: int,
) -> Tensor:
    """One step of the optimiser; its loss."""
    with _own_generator(_step_seed(settings.seed, step)):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(
                1.0, (step + 1) / max(1, settings.warmup_steps)
            )
        batch = torch.randint(len(tokens), (settings.batch_size,))
        loss = masked_token_loss(nat, tokens[batch], classes[batch], settings)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update_parameters(nat)
    return loss


@torch.inference_mode()
def validation_loss(nat: NAT, tokens: Tensor, classes: Tensor, repeats: int = 4) -> float:
    """Cross entropy on masked positions under uniform mask ratios, whatever the NAT was trained
    with, so that training strategies compare; masks are the same at every call.

    Args:
        nat: in evaluation mode.
        tokens: [N, L] int64, images that were not trained on.
        classes: [N] int64.
        repeats: masks an image.
    """
    plain = TrainingSettings(TrainingStrategy("uniform"), label_smoothing=0.0, class_dropout=0.0)
    with _own_generator(0):
        losses = [masked_token_loss(nat, tokens, classes, plain).item() for _ in range(repeats)]
    return math.fsum(losses) / repeats


@contextmanager
def _own_generator(seed: int) -> Iterator[None]:
    """Torch's global generator seeded, and given back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def masked_token_loss(
    nat: NAT, tokens: Tensor, classes: Tensor, settings: TrainingSettings
) -> Tensor:
    """Cross entropy on the masked positions of a batch, masks and dropped classes drawn from
    torch's global generator.

    Args:
        nat: the network.
        tokens: [B, L] int64.
        classes: [B] int64.
        settings: mask ratios, class dropout, label smoothing.

    Returns:
        A scalar.
    """
    batch, length = tokens.shape
    ratios = settings.strategy.mask_ratios(torch.rand(batch, dtype=torch.float64).numpy())
    counts = torch.from_numpy(np.clip(np.round(length * ratios), 1, length))
    # A random permutation's first n places are n random positions.
    masked = torch.rand(batch, length).argsort(dim=1).argsort(dim=1) < counts[:, None]
    dropped = torch.rand(batch) < settings.class_dropout
    seen_classes = classes.masked_fill(dropped, nat.null_class)
    logits = nat(tokens.masked_fill(masked, nat.mask_token), seen_classes)
    return F.cross_entropy(logits[masked], tokens[masked], label_smoothing=settings.label_smoothing)


def _step_seed(seed: int, step: int) -> int:
    digest = hashlib.sha256(f"training/{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _save(
    path: Path, step: int, nat: NAT, average: AveragedModel, optimiser: torch.optim.Optimizer
) -> None:
    state = {
        "step": step,
        "nat": nat.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def steps_behind(folder: Path) -> int:
    """How many steps the checkpoint in a folder has behind it; 0 without one that can be read."""
    try:
        return int(torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)["step"])
    except (pickle.UnpicklingError, OSError, EOFError, LookupError, RuntimeError, TypeError):
        return 0


def _resume(path: Path, nat: NAT, average: AveragedModel, optimiser: torch.optim.Optimizer) -> int:
    """Load a checkpoint if there is one; the number of steps that it has behind it."""
    if not path.exists():
        return 0
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        nat.load_state_dict(state["nat"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])
    except (
        pickle.UnpicklingError,
        OSError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        raise ValueError(f"{path}: not a training checkpoint of this network") from None
