"""Trains a NAT on tokens of images (AutoNAT, section 4.1, and its published settings).

The randomness of every step derives only from (seed, step), so that a run that was killed and then
resumed from its last checkpoint reaches the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.generators.nat import NAT, NATConfig
from models.precision import device
from models.saving import save_state
from models.tensor_file import load_torch
from models.training.masked_loss import WHOLE, Batch, Share, draw_batch, own_generator
from models.training.rows import Rows
from models.training.settings import TrainingSettings
from models.training.steps import COMPILED_FROM, GraphedSteps, Steps, can_record
from search.progress import Report

CHECKPOINT = "training.pt"
CHECKPOINT_EVERY = 200
"""The steps between checkpoints, or more of them where they take less than CHECKPOINT_SECONDS: a
small network on a GPU takes as long for a checkpoint as for ten steps."""
CHECKPOINT_SECONDS = 5.0
REPORT_EVERY = 20


def train(
    config: NATConfig,
    settings: TrainingSettings,
    tokens: Rows,
    conditions: Rows,
    folder: Path,
    report: Report,
    null_context: Tensor | None = None,
    share: Share = WHOLE,
) -> NAT:
    """Train to the end, and return the trained NAT; see `train_in_rungs`."""
    *_, trained = train_in_rungs(
        config,
        settings,
        tokens,
        conditions,
        folder,
        report,
        (settings.steps,),
        null_context=null_context,
        share=share,
    )
    return trained


def train_in_rungs(
    config: NATConfig,
    settings: TrainingSettings,
    tokens: Rows,
    conditions: Rows,
    folder: Path,
    report: Report,
    rungs: Sequence[int],
    start: NAT | None = None,
    null_context: Tensor | None = None,
    share: Share = WHOLE,
) -> Iterator[NAT]:
    """Train a NAT, and yield it at each rung; resume from the folder's checkpoint if it has one.

    Args:
        config: the sizes of the network.
        settings: how to train.
        tokens: [N, L] int64 in [0, K).
        conditions: classes [N] int64, or states of texts [N, C, E].
        folder: the folder of the checkpoint, which is kept; use one folder for each combination of
            config, settings and start.
        report: called with (steps done, steps, loss as text).
        rungs: increasing numbers of steps. A checkpoint with more steps than the first rung (see
            `steps_behind`) cannot be resumed.
        start: a NAT of these sizes whose weights are the initial weights; None for random ones.
        null_context: the states of the empty text [C, E], for a NAT that takes texts.
        share: which of several workers this is; the first one writes the checkpoint.

    Yields:
        The NAT with averaged weights at each rung, on the device of the training, in evaluation
        mode; its weights change when the training continues.

    Raises:
        ValueError: the loss is not finite, or the folder's checkpoint is of another network or has
            more steps than the first rung.
    """
    with own_generator(settings.seed):
        nat = NAT(config).train()
        if start is not None:
            nat.load_state_dict(start.state_dict())
        if null_context is not None:
            nat.set_null_context(null_context)
        nat.to(device())
        average = AveragedModel(nat, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))  # type: ignore[no-untyped-call]
    recorded = can_record(nat, settings, share)
    optimiser = _optimiser(nat, settings, recorded)
    done = _load_checkpoint(folder / CHECKPOINT, nat, average, optimiser)
    if done > rungs[0]:
        raise ValueError(
            f"{folder / CHECKPOINT}: expected a checkpoint of at most {rungs[0]} steps, got {done}"
        )
    forward: nn.Module = nat if share.world == 1 else DistributedDataParallel(nat)
    steps = Steps(forward, nat, average, optimiser, settings, fixed=recorded)
    if recorded and settings.steps >= COMPILED_FROM:  # resumed, too: with the same rounding
        steps.compile()
    taken = GraphedSteps(steps) if recorded else steps

    def draw(step: int) -> list[Batch]:
        return draw_batch(nat, settings, tokens, conditions, step, share)

    next_save = time.monotonic() + CHECKPOINT_SECONDS
    for rung in rungs:
        numbers = range(done, rung)
        for step, batches in zip(numbers, _ahead(draw, numbers), strict=True):
            loss = taken.take([batch.to(nat.device) for batch in batches], step)
            last = step + 1 == rung
            if last or (step + 1) % REPORT_EVERY == 0:
                if not math.isfinite(loss.item()):
                    raise ValueError(f"training diverged: loss = {loss.item()} at step {step + 1}")
                report(step + 1, settings.steps, f"loss {loss.item():.3f}")
            due = (step + 1) % CHECKPOINT_EVERY == 0 and time.monotonic() > next_save
            if share.rank == 0 and (last or due):
                _save_checkpoint(folder / CHECKPOINT, step + 1, nat, average, optimiser)
                next_save = time.monotonic() + CHECKPOINT_SECONDS
        done = rung
        trained: NAT = average.module  # type: ignore[assignment]
        yield trained.eval()


def _optimiser(nat: NAT, settings: TrainingSettings, recorded: bool) -> torch.optim.AdamW:
    """Make the optimiser; for recorded steps with a learning rate that is a tensor on the GPU."""
    rate: float | Tensor = settings.learning_rate
    return torch.optim.AdamW(
        nat.parameters(),
        lr=torch.tensor(rate, device=nat.device) if recorded else rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=recorded,
    )


def _ahead(draw: Callable[[int], list[Batch]], steps: range) -> Iterator[list[Batch]]:
    """Draw the batch of each step; beside a GPU, a thread draws the next one meanwhile."""
    if device() == "cpu":
        yield from map(draw, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(draw, steps[0]) if steps else None
        for step in steps:
            drawn = cast("Future[list[Batch]]", waiting).result()
            if step + 1 < steps.stop:
                waiting = pool.submit(draw, step + 1)
            yield drawn


def _save_checkpoint(
    path: Path, step: int, nat: NAT, average: AveragedModel, optimiser: torch.optim.Optimizer
) -> None:
    state = {
        "step": step,
        "nat": nat.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_state(path, state)


def steps_behind(folder: Path) -> int:
    """Return the steps of the checkpoint in a folder; 0 if there is none that can be read."""
    try:
        return int(load_torch(folder / CHECKPOINT)["step"])
    except (LookupError, TypeError, ValueError):
        return 0


def _load_checkpoint(
    path: Path, nat: NAT, average: AveragedModel, optimiser: torch.optim.Optimizer
) -> int:
    """Load a checkpoint if there is one, and return its number of steps."""
    if not path.exists():
        return 0
    try:
        state: dict[str, Any] = load_torch(path)
        nat.load_state_dict(state["nat"])
        average.load_state_dict(state["average"])
        kept = [(group["lr"], group["capturable"]) for group in optimiser.param_groups]
        optimiser.load_state_dict(state["optimiser"])
        # How steps are taken is this run's, whichever device wrote the checkpoint.
        for group, (rate, capturable) in zip(optimiser.param_groups, kept, strict=True):
            group["lr"], group["capturable"] = rate, capturable
        return int(state["step"])
    except (LookupError, RuntimeError, TypeError, ValueError):
        raise ValueError(f"{path}: not a training checkpoint of this network") from None
