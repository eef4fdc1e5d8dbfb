"""The common part of samplers that propose by another library's model of all known values.

Such a sampler is one of Optuna's kind, so `OptunaSampler` gives it first strategies, coordinates,
delayed results and replay. It holds no state: it reads the trials of the study at each proposal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from search.bound import Vector
from search.dimensions import SearchSpace
from search.optimisers.optuna_sampler import distributions
from search.seeds import derived_seed

STARTUP = 10
"""The number of values known before the model proposes anything; Sobol points come before."""


class ModelSampler(BaseSampler, ABC):
    """Proposes evenly spread points, and then those of a model.

    Args:
        space: what is searched.
        seed: all random decisions derive from it and from the number of the trial.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed
        self._distributions = distributions(space)
        self._others = RandomSampler(seed)

    @abstractmethod
    def propose(
        self, known: Sequence[FrozenTrial], in_flight: Sequence[FrozenTrial], seed: int
    ) -> dict[str, Any]:
        """Return the values of the next trial, by dimension.

        Args:
            known: the trials with a value.
            in_flight: the trials without a result.
            seed: the seed of this proposal, in [0, 2**56).
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `BaseSampler`: all dimensions are proposed together."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`: propose the values of a trial."""
        known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(known) < STARTUP:
            points = qmc.Sobol(len(self.space.dimensions), seed=self.seed)
            return self.values(points.fast_forward(trial.number).random()[0])
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        in_flight = [other for other in running if other.number != trial.number]
        with threadpool_limits(1):
            seed = derived_seed("proposal", self.seed, trial.number)
            return self.propose(known, in_flight, seed)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler`: a value that is no dimension of the space is drawn at random."""
        return self._others.sample_independent(study, trial, param_name, distribution)

    def values(self, unit: Vector) -> dict[str, Any]:
        """Return the values of a point [D] in [0, 1], by dimension."""
        vector = self.space.from_unit(unit)
        return {d.name: d.value(v) for d, v in zip(self.space.dimensions, vector, strict=True)}
