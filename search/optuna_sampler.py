"""Any Optuna sampler as an optimiser.

The sampler lives in a study of its own in memory; the record of the search is another one, which
the driver writes. To make a parallel search repeatable, results reach the sampler with a fixed
delay: the sampler that proposes probe k knows the results of probes 0 … k - max_in_flight and of
no others, whichever workers were faster.
"""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Budget, Probe, Signal, evaluation_seed
from search.space import Space


class OptunaSampler:
    """Minimises FID with an Optuna sampler, from the space's start.

    Args:
        sampler: seeded by whoever makes it.
        space: its bounds and scales become Optuna distributions.
        budget: how many evaluations are asked.
        seed: the evaluations' seeds derive from it.
        max_in_flight: probes that may be out at once, >= 1, and the delay of results; give it at
            least as many as there are workers.
        common_random_numbers: one seed for all evaluations, so that differences between
            strategies are not drowned by their noise; else one an evaluation.

    Raises:
        ValueError: max_in_flight < 1.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        space: Space,
        budget: Budget,
        seed: int,
        *,
        max_in_flight: int = 4,
        common_random_numbers: bool = True,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight = {max_in_flight} is not positive")
        self._space, self._budget, self._seed = space, budget, seed
        self._max_in_flight, self._common = max_in_flight, common_random_numbers
        self._distributions = distributions(space)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        start = dict(zip(space.names, space.to_vector(space.start), strict=True))
        self._study.enqueue_trial({name: float(value) for name, value in start.items()})
        self._trials: list[Trial] = []
        self._released = 0
        self._ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """The sampler's next proposal; WAIT while a result that it must know is missing."""
        number = len(self._ledger)
        if number == self._budget.evaluations:
            return DONE
        due = max(0, number - self._max_in_flight + 1)
        if self._ledger.told_in_order() < due:
            return WAIT
        while self._released < due:
            self._release(self._released)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(dict(self._distributions))
        self._trials.append(trial)
        strategy = self._space.from_vector([trial.params[name] for name in self._space.names])
        seed = evaluation_seed(self._seed, 0 if self._common else number)
        images = self._budget.images_per_evaluation
        role = "start" if number == 0 else "sample"
        return self._ledger.ask(Probe(number, strategy, images, seed, number, role))

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)

    def _release(self, number: int) -> None:
        """Let the sampler know a result; Optuna has a state of its own for failures."""
        fid = self._ledger.fid(number)
        if fid is None:
            self._study.tell(self._trials[number], state=TrialState.FAIL)
        else:
            self._study.tell(self._trials[number], fid)
        self._released = number + 1


def distributions(space: Space) -> dict[str, FloatDistribution]:
    """The space as Optuna distributions, by parameter name."""
    rows = zip(space.names, space.low, space.high, space.log, strict=True)
    return {
        name: FloatDistribution(float(low), float(high), log=bool(log))
        for name, low, high, log in rows
    }
