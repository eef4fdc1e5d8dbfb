"""An optimiser of your own: SPSA (Spall 1992), with two probes a step along a random direction."""

from __future__ import annotations

import numpy as np

from search.bound import Vector
from search.dimensions import SearchSpace
from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Budget, Probe, Signal, TrainingBudget, evaluation_seed


class SPSA:
    """Moves along the difference of two probes on either side of the current point."""

    searches = ("generation", "training", "joint")

    def __init__(
        self,
        space: SearchSpace,
        budget: Budget | TrainingBudget,
        seed: int,
        *,
        gain: float = 0.05,
        width: float = 0.05,
    ) -> None:
        if any(dimension.values for dimension in space.dimensions):
            raise ValueError("SPSA moves along numbers and cannot search choices")
        self.space, self.budget, self.seed, self.gain, self.width = space, budget, seed, gain, width
        self.here = space.to_unit(space.start_vector)
        self.ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """Return the start, then pairs of probes; WAIT until both of a pair are known."""
        number = len(self.ledger)
        if number == self.budget.evaluations:
            return DONE
        pair, side = divmod(number - 1, 2)
        if number and not side:
            if self.ledger.told_in_order() < number:
                return WAIT
            if pair:
                self.move(number - 2, pair - 1)
        vector = self.space.start_vector
        if number:
            move = (1 - 2 * side) * self.width * self.direction(pair)
            vector = self.space.from_unit(self.here + move)
        strategy, trained = self.space.pair(vector)
        seed = evaluation_seed(self.seed, 0)
        training = self.budget.training(trained, seed)
        images = self.budget.images_per_evaluation
        role = "pair" if number else "start"
        probe = Probe(number, strategy, images, seed, number and pair + 1, role, training)
        return self.ledger.ask(probe)

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """Keep the result of a probe."""
        self.ledger.tell(probe, result)

    def direction(self, pair: int) -> Vector:
        """Draw the direction of a pair: 1 or -1 in every coordinate."""
        return np.random.default_rng([self.seed, pair]).choice([-1.0, 1.0], len(self.here))

    def move(self, first: int, pair: int) -> None:
        """Step down the slope between the probes of a pair, unless one of them failed."""
        values = self.ledger.value(first), self.ledger.value(first + 1)
        if values[0] is not None and values[1] is not None:
            slope = np.sign(values[0] - values[1]) * self.direction(pair)
            self.here = np.clip(self.here - self.gain * slope, 0, 1)
