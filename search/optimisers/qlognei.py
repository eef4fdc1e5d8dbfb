"""BoTorch's qLogNoisyExpectedImprovement as an optimiser: a well-kept rival of our own search.

The model is BoTorch's SingleTaskGP with its own priors and, where every evaluation gives a standard
error, the measured noise. Each proposal maximises the improvement that the model expects over the
noisy values known, given the proposals in flight (Ament et al. 2023, "Unexpected Improvements to
Expected Improvement for Bayesian Optimization"). Choices are numbers in the model, and rounded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

try:
    import torch
    from botorch.acquisition import qLogNoisyExpectedImprovement
    from botorch.exceptions import BotorchWarning
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood
except ImportError:
    raise ValueError(
        "optimiser qlognei: BoTorch is not installed: pip install 'autonat[botorch]'"
    ) from None

from search.bound import Vector
from search.dimensions import SearchSpace
from search.optimisers.optuna_sampler import STANDARD_ERROR, distributions
from search.optimisers.samplers import optimiser_of
from search.seeds import derived_seed

STARTUP = 10
"""The number of values known before the model proposes anything; Sobol points come before."""
SAMPLES = 128
"""The number of draws from the model by which the improvement is estimated."""
RAW_SAMPLES, RESTARTS = 256, 4
"""How many points are tried, and from how many the improvement is maximised."""


class QLogNEISampler(BaseSampler):
    """Proposes the point of a space with the largest expected improvement.

    Args:
        space: what is searched.
        seed: all random decisions derive from it and from the number of the trial.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._seed = space, seed
        self._distributions = distributions(space)
        self._else = RandomSampler(seed)

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
            points = qmc.Sobol(len(self._distributions), seed=self._seed)
            unit = points.fast_forward(trial.number).random()[0]
        else:
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            in_flight = [other for other in running if other.number != trial.number]
            with _alone(derived_seed("qlognei", self._seed, trial.number)):
                unit = self._propose(known, in_flight, trial.number)
        vector = self._space.from_unit(unit)
        return {d.name: d.value(v) for d, v in zip(self._space.dimensions, vector, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler`: a value that is no dimension of the space is drawn at random."""
        return self._else.sample_independent(study, trial, param_name, distribution)

    def _propose(
        self, known: Sequence[FrozenTrial], in_flight: Sequence[FrozenTrial], number: int
    ) -> Vector:
        """Return the point [D] in [0, 1] with the largest expected improvement."""
        x = self._units(known)
        model = _fitted(x, known)
        improvement = qLogNoisyExpectedImprovement(
            model,
            x,
            SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=number),
            X_pending=self._units(in_flight) if in_flight else None,
        )
        bounds = torch.stack([torch.zeros(x.shape[1]), torch.ones(x.shape[1])]).to(x)
        found, _ = optimize_acqf(
            improvement,
            bounds,
            q=1,
            num_restarts=RESTARTS,
            raw_samples=RAW_SAMPLES,
            options={"maxiter": 100},
        )
        return np.asarray(found[0].numpy(), dtype=np.float64)

    def _units(self, trials: Sequence[FrozenTrial]) -> torch.Tensor:
        """Return the points [N, D] of trials in [0, 1]."""
        dimensions = self._space.dimensions
        vectors = [
            np.array([d.entry(trial.params[d.name]) for d in dimensions]) for trial in trials
        ]
        return torch.tensor(np.stack([self._space.to_unit(v) for v in vectors]))


def _fitted(x: torch.Tensor, trials: Sequence[FrozenTrial]) -> SingleTaskGP:
    """Return the model of the negative values of trials at x [N, D]."""
    y = torch.tensor([[-float(trial.value or 0.0)] for trial in trials], dtype=x.dtype)
    errors = [trial.user_attrs.get(STANDARD_ERROR) for trial in trials]
    given = [error for error in errors if error is not None]
    noise = None
    if len(given) == len(trials):
        noise = torch.tensor(given, dtype=x.dtype)[:, None] ** 2
    model = SingleTaskGP(x, y, noise)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Work with one thread, without BoTorch's warnings, and with random numbers of this seed;
    nobody else's random numbers change."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            threadpool_limits(1),
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", BotorchWarning)
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


qlognei = optimiser_of(QLogNEISampler)
