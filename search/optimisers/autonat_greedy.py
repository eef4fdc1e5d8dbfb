"""AutoNAT's search of the training strategy: greedy, one parameter after the other.

Beginning at the start, each parameter in turn is moved up and down by a stride on its scale. Both
neighbours are measured at the same time, and the better one is kept as long as the metric
improves. When no parameter improves it any more, the stride is halved. AutoNAT, section 4.1, gives
the principle; the strides are ours.
"""

from __future__ import annotations

import numpy as np

from search.bound import Vector
from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Probe, Signal, TrainingBudget, evaluation_seed
from search.training_space import TrainingSpace

SHORTEST_STRIDE = 1 / 64
DECIMALS = 9


class AutoNATGreedy:
    """Minimises the metric over the parameters of a mask ratio distribution.

    A training that failed or was stopped early counts as worse than any other.

    Args:
        space: the space to search.
        budget: the search ends when it is spent, or when the stride is below 1/64.
        seed: the seeds of trainings and evaluations derive from it.
        stride: the length of the first moves, as a share in (0, 1) of a parameter's range on its
            scale.
        common_random_numbers: whether all trainings and evaluations share one seed.

    Raises:
        ValueError: the stride is outside (0, 1).
    """

    searches = ("training",)

    def __init__(
        self,
        space: TrainingSpace,
        budget: TrainingBudget,
        seed: int,
        *,
        stride: float = 0.25,
        common_random_numbers: bool = True,
    ) -> None:
        if not 0 < stride < 1:
            raise ValueError(f"stride = {stride} is outside (0, 1)")
        self._space, self._budget, self._seed = space, budget, seed
        self._stride, self._common = stride, common_random_numbers
        self._base = space.to_unit(space.start_vector)
        self._coordinate, self._unmoved = 0, 0
        self._asked: dict[tuple[float, ...], int] = {}
        self._queue: list[tuple[str, Vector]] = [("start", self._base)]
        self._batch: list[Vector] = []
        self._step = 0
        self._ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """Return the next neighbour; WAIT until the results of both neighbours are known."""
        while not self._queue:
            if self._ledger.told_in_order() < len(self._ledger):
                return WAIT
            if self._stride < SHORTEST_STRIDE:
                return DONE
            self._move_to_better_neighbour()
        number = len(self._ledger)
        if self._ledger.spent + 1 > self._budget.evaluations + 1e-9:
            return WAIT if self._ledger.in_flight else DONE
        role, unit = self._queue.pop(0)
        self._asked[_key(unit)] = number
        # The exact start, because mapping it to [0, 1] and back may round it.
        at_start = role == "start"
        vector = self._space.start_vector if at_start else self._space.from_unit(unit)
        generation, strategy = self._space.pair(vector)
        seed = evaluation_seed(self._seed, 0 if self._common else number)
        training = self._budget.training(strategy, seed)
        images = self._budget.images_per_evaluation
        probe = Probe(number, generation, images, seed, self._step, role, training)
        return self._ledger.ask(probe)

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)

    def _move_to_better_neighbour(self) -> None:
        """Move to the better neighbour if it improves on the base, and queue the next two.

        None follow where the stride became too short.
        """
        better = min(self._batch, key=self._fid, default=self._base)
        if self._fid(better) < self._fid(self._base):
            self._base, self._unmoved = better, 0
        elif self._batch:
            self._unmoved += 1
            self._coordinate = (self._coordinate + 1) % len(self._base)
        if self._unmoved == len(self._base):
            self._stride, self._unmoved = self._stride / 2, 0
        if self._stride < SHORTEST_STRIDE:
            return
        self._step += 1
        name = self._space.names[self._coordinate]
        moves = [(f"{name}{sign}", self._neighbour(s)) for sign, s in (("+", 1), ("-", -1))]
        self._batch = [unit for _, unit in moves]
        self._queue = [(role, unit) for role, unit in moves if _key(unit) not in self._asked]

    def _neighbour(self, sign: int) -> Vector:
        unit = self._base.copy()
        unit[self._coordinate] = np.clip(unit[self._coordinate] + sign * self._stride, 0, 1)
        return unit

    def _fid(self, unit: Vector) -> float:
        number = self._asked[_key(unit)]
        fid = self._ledger.value(number)
        return np.inf if fid is None or self._ledger.stopped(number) else fid


def _key(unit: Vector) -> tuple[float, ...]:
    return tuple(np.round(unit, DECIMALS).tolist())
