"""AutoNAT's published search of the generation strategy: the method to beat.

It is gradient descent with momentum on forward differences of the metric (AutoNAT, section 4.2, and
its public code). Every step measures the base and one probe for each coordinate, each with labels
and noise of its own, so that a difference carries two independent errors. The published search has
no choices. We add them: every step also measures all other values of each choice at the base, and
adopts the best of them if it improves on the base.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from search.bound import LARGEST_VALUE, Vector
from search.first_strategies import best_of
from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Budget, Probe, Signal, evaluation_seed
from search.schedules import SCHEDULES
from search.space import Space
from search.strategy import GenerationStrategy

MOMENTUM = 0.5
MAX_STEPS = 100
RATIO_PERTURBATION, PERTURBATION = 0.01, 0.1
RATIO_LEARNING_RATE, LEARNING_RATE = 1e-3, 0.1
RATIO_HIGH, LOW = 0.99, 1e-4


class AutoNATReference:
    """Gradient descent with momentum on forward differences, as AutoNAT publishes it.

    Mask ratios are clamped to [0, 0.99] and all other values to [1e-4, 1e9]. These are the limits
    of the published method; the bounds of the space are not applied. Guidance of 1e-4 counts as 0,
    without an unconditional pass, as in the published strategies. If a probe fails, the slope of
    its coordinate is 0; if the base fails, the step is repeated with new seeds.

    Args:
        space: the space to search; the descent begins at its start.
        budget: the search ends when the rest does not pay for another whole step.
        seed: the seeds of the evaluations derive from it.
        tokens: L, for `whole_tokens`.
        first: strategies to measure before the first step, which then begins at the best of them.
            By default the descent begins at the space's start, as published.
        common_random_numbers: whether all evaluations of a step share a seed; published: False.
        whole_tokens: whether to move a mask ratio by one token, rather than by 0.01, which often
            changes no count of tokens; published: False.

    Raises:
        ValueError: the budget does not pay for `first` and one step (1 + D evaluations).
    """

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        tokens: int | None = None,
        first: Sequence[GenerationStrategy] = (),
        *,
        common_random_numbers: bool = False,
        whole_tokens: bool = False,
    ) -> None:
        if whole_tokens and tokens is None:
            raise ValueError("whole_tokens = True needs the number of tokens, which is not known")
        self._space, self._images, self._seed = space, budget.images_per_evaluation, seed
        self._common = common_random_numbers
        counts = [len(dimension.values) for dimension in space.dimensions]
        self._others = [(i, k) for i, count in enumerate(counts) for k in range(1, count)]
        self._counts, self._numbers = counts, space.free_length
        self._batch = 1 + self._numbers + len(self._others)
        self._first = first
        self._steps = min(MAX_STEPS, (budget.evaluations - len(first)) // self._batch)
        if self._steps < 1:
            before = f"{len(first)} first strategies and " if first else ""
            raise ValueError(
                f"budget = {budget.images} images is less than one step of AutoNAT's search: "
                f"{before}1 + {self._batch - 1} evaluations of {self._images} images need "
                f"{(len(first) + self._batch) * self._images}"
            )
        is_ratio = np.array([SCHEDULES[name].masks for name in space.schedule_of], np.bool_)
        below = np.array([SCHEDULES[name].below for name in space.schedule_of])
        # A little more than a token, which rounding would lose.
        token = None if tokens is None else (1 + 1e-9) / tokens
        ratio = token if whole_tokens and token is not None else RATIO_PERTURBATION
        self._perturbation = np.where(is_ratio, ratio, PERTURBATION)
        self._learning_rate = np.where(is_ratio, RATIO_LEARNING_RATE, LEARNING_RATE)
        self._low = np.where(is_ratio, 0.0, LOW)
        # A ratio of 0.99 + 0.01 = 1 is not legal. The largest number below 1 leads to the same
        # count of masked tokens, because decoding settles at least one token a step.
        self._ceiling = np.where(below < math.inf, np.nextafter(below, 0.0), LARGEST_VALUE)
        self._high = np.where(is_ratio, RATIO_HIGH, self._ceiling)
        self._x = space.to_vector(space.start)
        self._velocity: Vector = np.zeros(self._numbers)
        self._ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """Return the next probe of the step; WAIT at the end of a step for its last results."""
        number = len(self._ledger)
        if number < len(self._first):
            return self._enter(self._first[number], 0, "control" if number else "start")
        step, coordinate = divmod(number - len(self._first), self._batch)
        if step == self._steps:
            return DONE
        if number > 0 and coordinate == 0:
            if self._ledger.told_in_order() < number:
                return WAIT
            if step > 0:
                self._descend(number - self._batch)
            else:
                self._x = self._space.to_vector(best_of(self._first, self._ledger))
        x, role = self._x.copy(), "base"
        if coordinate > self._numbers:
            entry, x = self._with_other_choice(coordinate - 1 - self._numbers)
            role = f"{self._space.names[entry]}={self._space.dimensions[entry].value(x[entry])}"
        elif coordinate > 0:
            role = self._space.names[coordinate - 1]
            x[coordinate - 1] += self._perturbation[coordinate - 1]
        x[: self._numbers] = np.minimum(x[: self._numbers], self._ceiling)
        strategy = self._space.from_vector(x)
        if any(0 < scale <= LOW for scale in strategy.guidance_scale):
            strategy = replace(strategy, guidance_floor=LOW)
        return self._enter(strategy, step + bool(self._first), role)

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)

    def _enter(self, strategy: GenerationStrategy, step: int, role: str) -> Probe:
        number = len(self._ledger)
        seed = evaluation_seed(self._seed, step if self._common else number)
        return self._ledger.ask(Probe(number, strategy, self._images, seed, step, role))

    def _descend(self, first: int) -> None:
        """Take a step, given the batch whose base is probe `first`.

        The numbers move down the slope; a choice changes if one of its other values is better.
        """
        base = self._ledger.value(first)
        if base is None:
            return
        self._adopt_better_choice(first + 1 + self._numbers, base)
        moved = [self._ledger.value(first + 1 + i) for i in range(self._numbers)]
        differences = np.array([0.0 if fid is None else fid - base for fid in moved])
        self._velocity = MOMENTUM * self._velocity + differences / self._perturbation
        step = self._x[: self._numbers] - self._learning_rate * self._velocity
        self._x[: self._numbers] = np.clip(step, self._low, self._high)

    def _with_other_choice(self, which: int) -> tuple[int, Vector]:
        """Return the entry of a choice, and the base with another value of this choice."""
        entry, further = self._others[which]
        x = self._x.copy()
        x[entry] = (x[entry] + further) % self._counts[entry]
        return entry, x

    def _adopt_better_choice(self, first: int, base: float) -> None:
        """Adopt the best of the other values of choices, whose probes begin at `first`."""
        found = [(self._ledger.value(first + i), i) for i in range(len(self._others))]
        better = [(fid, i) for fid, i in found if fid is not None and fid < base]
        if better:
            _, self._x = self._with_other_choice(min(better)[1])


common_numbers = functools.partial(AutoNATReference, common_random_numbers=True, whole_tokens=True)
"""The published search, but by default with common random numbers and whole tokens."""
