"""The steps of a training: a batch becomes gradients, new weights, and a new average of them.

A small network leaves a GPU idle while the CPU starts its hundreds of kernels. `GraphedSteps`
records the kernels of a step once, and then starts them all at once. In a long training they are
compiled before that: fewer and larger ones.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from models.compiled_rows import warn_once
from models.generators.nat import NAT
from models.precision import computing_in, device
from models.training.masked_loss import Batch, Share, batch_loss, own_generator
from models.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

WARM_UP = 3
"""Steps before the kernels are recorded, in which libraries prepare themselves."""

COMPILED_FROM = 5_000
"""The steps of a training from which compiling pays, which takes some 20 seconds."""


def can_record(nat: NAT, settings: TrainingSettings, share: Share) -> bool:
    """Return whether the steps of a training can be recorded.

    They can on a GPU, where the gradients of the whole batch are computed at once and without
    dropout, which needs new random numbers at each step.
    """
    whole = settings.microbatch is None or settings.microbatch >= settings.batch_size
    return device() == "cuda" and share.world == 1 and whole and nat.config.dropout == 0


class Steps:
    """Takes the steps of a training one by one.

    Args:
        forward: the network, or the wrapper that distributes it over workers.
        nat: the network itself.
        average: the average of its weights.
        optimiser: of its weights.
        settings: of the training.
        fixed: whether the loss is computed with shapes that do not depend on the masks.
    """

    def __init__(
        self,
        forward: nn.Module,
        nat: NAT,
        average: AveragedModel,
        optimiser: torch.optim.Optimizer,
        settings: TrainingSettings,
        fixed: bool = False,
    ) -> None:
        self.forward, self.nat, self.average = forward, nat, average
        self.optimiser, self.settings, self.fixed = optimiser, settings, fixed
        self._pairs = (
            [parameter.detach() for parameter in average.parameters()],
            [parameter.detach() for parameter in nat.parameters()],
        )
        self._loss_of: Callable[..., Tensor] = batch_loss

    def compile(self, backend: Any = "inductor") -> None:
        """Compile forward passes, losses and gradients, all of batches of one size.

        They are computed as they are, which a warning says once, where compiling fails.

        Args:
            backend: of torch.compile.
        """
        self._loss_of = torch.compile(batch_loss, dynamic=False, backend=backend)

    def take(self, batches: Sequence[Batch], step: int) -> Tensor:
        """Take step number `step` (from 0); return the loss of this worker's images, weighted."""
        self.set_learning_rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(batches):
            waiting: AbstractContextManager[None] = contextlib.nullcontext()
            if isinstance(self.forward, DistributedDataParallel) and number + 1 < len(batches):
                # Gradients are exchanged between workers only once, after the last microbatch.
                waiting = self.forward.no_sync()
            with own_generator(batch.seed), waiting:
                losses.append(self.backward(batch))
        self.optimiser.step()
        self.update_average(first=step == 0)
        return torch.stack(losses).sum()

    def set_learning_rate(self, step: int) -> None:
        """Set the learning rate of a step, which grows in the warm-up."""
        settings = self.settings
        rate = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def backward(self, batch: Batch) -> Tensor:
        """Compute gradients; return the weighted loss, a scalar."""
        try:
            return self._backward(batch)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise any error, of their own and of others' tools
            if self._loss_of is batch_loss:
                raise
            self._loss_of = batch_loss
            warn_once(f"training steps are not compiled: {type(error).__name__}: {error}")
        self.optimiser.zero_grad(set_to_none=True)
        return self._backward(batch)

    def _backward(self, batch: Batch) -> Tensor:
        with computing_in(self.settings.precision):
            smoothing = self.settings.label_smoothing
            loss = self._loss_of(self.forward, self.nat, batch, smoothing, self.fixed)
            loss = batch.weight * loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def update_average(self, first: bool) -> None:
        """Update the average as `AveragedModel` does, which would wait for a GPU to count."""
        averages, weights = self._pairs
        if first:
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)
        else:
            torch._foreach_lerp_(averages, weights, 1 - self.settings.ema_decay)
        self.average.n_averaged += 1


class GraphedSteps:
    """Takes steps on a GPU by a recording of their kernels (a CUDA graph).

    The first steps are taken one kernel at a time. Where recording fails, so are all others, and a
    warning says so.

    Args:
        steps: takes the steps that are not recorded; of a training that `can_record`.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps, self._taken = steps, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._beside: torch.cuda.Stream | None = None
        try:
            self._beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            self._give_up(error)

    def take(self, batches: Sequence[Batch], step: int) -> Tensor:
        """See `Steps.take`."""
        if self._graph is None and self._beside is not None and self._taken >= WARM_UP:
            self._record(batches[0])
        self._taken += 1
        if self._graph is None:
            return self._take_unrecorded(batches, step)
        self._steps.set_learning_rate(step)
        for name in ("tokens", "masked", "conditions", "dropped"):
            getattr(self._batch, name).copy_(getattr(batches[0], name))
        self._graph.replay()
        return self._loss

    def _take_unrecorded(self, batches: Sequence[Batch], step: int) -> Tensor:
        """Take a step kernel by kernel, beside the default stream, as a later recording needs."""
        if self._beside is None:
            return self._steps.take(batches, step)
        self._beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._beside):
            loss = self._steps.take(batches, step)
        torch.cuda.current_stream().wait_stream(self._beside)
        return loss

    def _record(self, like: Batch) -> None:
        parts = {name: getattr(like, name).clone() for name in ("tokens", "masked", "conditions")}
        self._batch = replace(like, **parts, dropped=like.dropped.clone())
        steps, graph = self._steps, torch.cuda.CUDAGraph()
        steps.optimiser.zero_grad(set_to_none=True)
        try:
            with torch.cuda.graph(graph):
                self._loss = steps.backward(self._batch)
                steps.optimiser.step()
                steps.update_average(first=False)
        except RuntimeError as error:
            steps.optimiser.zero_grad(set_to_none=True)
            self._give_up(error)
        else:
            self._graph = graph

    def _give_up(self, error: RuntimeError) -> None:
        self._beside = None
        line = " ".join(str(error).split())[:200]
        logger.warning("training steps are not recorded, and slower: %s", line)
