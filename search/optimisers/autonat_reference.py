"""AutoNAT's own search of the generation strategy, as published: the method to beat.

Gradient descent with momentum on forward differences of FID (AutoNAT, section 4.2 and its public
code): every step measures the base and one probe a coordinate, each with labels and noise of its
own, so that a difference carries two independent errors. A choice, which has no slope, is ours to
add: every step measures each other value of it at the base, and the best of them is taken where it
is below the base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    """SGD on forward differences; clamped to ratios in [0, 0.99] and the rest in [1e-4, 1e9].

    The method has limits of its own, so the space's bounds are not applied. A failed probe leaves
    its coordinate's slope at 0; a failed base repeats the step with new seeds.

    Args:
        space: what is searched; the descent starts at its start.
        budget: steps end when it does not pay for another whole step.
        seed: the evaluations' seeds derive from it.
        tokens: L, for `whole_tokens`.
        first: strategies to measure before the first step, which then descends from the best of
            them; not published. None by default: the descent begins at the space's start.
        common_random_numbers: one seed a step in place of one an evaluation. Not published.
        whole_tokens: a ratio is moved by one token in place of 0.01, which often moves none. Not
            published.

    Raises:
        ValueError: a budget smaller than one step (1 + D evaluations) and what comes before it.
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
            raise ValueError("whole_tokens = True: the number of tokens is not known")
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
        ratio = 1 / tokens if whole_tokens and tokens is not None else RATIO_PERTURBATION
        self._perturbation = np.where(is_ratio, ratio, PERTURBATION)
        self._learning_rate = np.where(is_ratio, RATIO_LEARNING_RATE, LEARNING_RATE)
        self._low = np.where(is_ratio, 0.0, LOW)
        # A ratio of 0.99 + 0.01 masks floor(L * 1) tokens, which decoding cuts to what is masked
        # less one; so does the largest number below 1, which a strategy may hold.
        self._ceiling = np.where(below < math.inf, np.nextafter(below, 0.0), LARGEST_VALUE)
        self._high = np.where(is_ratio, RATIO_HIGH, self._ceiling)
        self._x = space.to_vector(space.start)
        self._velocity: Vector = np.zeros(self._numbers)
        self._ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """The next probe of the step; WAIT at the end of a step for its last results."""
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
            entry, x = self._with_other(coordinate - 1 - self._numbers)
            role = f"{self._space.names[entry]}={self._space.dimensions[entry].value(x[entry])}"
        elif coordinate > 0:
            role = self._space.names[coordinate - 1]
            x[coordinate - 1] += self._perturbation[coordinate - 1]
        x[: self._numbers] = np.minimum(x[: self._numbers], self._ceiling)
        return self._enter(self._space.from_vector(x), step + bool(self._first), role)

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)

    def _enter(self, strategy: GenerationStrategy, step: int, role: str) -> Probe:
        number = len(self._ledger)
        seed = evaluation_seed(self._seed, step if self._common else number)
        return self._ledger.ask(Probe(number, strategy, self._images, seed, step, role))

    def _descend(self, first: int) -> None:
        """One step of SGD from the batch whose base is probe `first`, and to the best of the other
        values of choices where it is better."""
        base = self._ledger.value(first)
        if base is None:
            return
        self._choose(first + 1 + self._numbers, base)
        moved = [self._ledger.value(first + 1 + i) for i in range(self._numbers)]
        differences = np.array([0.0 if fid is None else fid - base for fid in moved])
        self._velocity = MOMENTUM * self._velocity + differences / self._perturbation
        step = self._x[: self._numbers] - self._learning_rate * self._velocity
        self._x[: self._numbers] = np.clip(step, self._low, self._high)

    def _with_other(self, which: int) -> tuple[int, Vector]:
        """The entry of a choice, and the base with another value there."""
        entry, further = self._others[which]
        x = self._x.copy()
        x[entry] = (x[entry] + further) % self._counts[entry]
        return entry, x

    def _choose(self, first: int, base: float) -> None:
        """Take the best of the other values, of which `first` was the first probe."""
        found = [(self._ledger.value(first + i), i) for i in range(len(self._others))]
        better = [(fid, i) for fid, i in found if fid is not None and fid < base]
        if better:
            _, self._x = self._with_other(min(better)[1])


class AutoNATCommonNumbers(AutoNATReference):
    """The reference's steps with common random numbers and whole tokens, which are its defaults."""

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        tokens: int | None = None,
        first: Sequence[GenerationStrategy] = (),
        *,
        common_random_numbers: bool = True,
        whole_tokens: bool = True,
    ) -> None:
        super().__init__(
            space,
            budget,
            seed,
            tokens,
            first,
            common_random_numbers=common_random_numbers,
            whole_tokens=whole_tokens,
        )
