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
from optuna.trial import FrozenTrial

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

from search.optimisers.model_sampler import ModelSampler
from search.optimisers.optuna_sampler import STANDARD_ERROR
from search.optimisers.samplers import optimiser_of

SAMPLES = 128
"""The number of draws from the model by which the improvement is estimated."""
RAW_SAMPLES, RESTARTS = 256, 4
"""How many points are tried, and from how many the improvement is maximised."""


class QLogNEISampler(ModelSampler):
    """Proposes the point of a space with the largest expected improvement."""

    def propose(
        self, known: Sequence[FrozenTrial], in_flight: Sequence[FrozenTrial], seed: int
    ) -> dict[str, Any]:
        """See `ModelSampler.propose`."""
        with _alone(seed):
            x = self._units(known)
            improvement = qLogNoisyExpectedImprovement(
                _fitted(x, known),
                x,
                SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
                X_pending=self._units(in_flight) if in_flight else None,
            )
            bounds = torch.stack([torch.zeros(x.shape[1]), torch.ones(x.shape[1])]).to(x)
            found, _ = optimize_acqf(
                improvement, bounds, q=1, num_restarts=RESTARTS, raw_samples=RAW_SAMPLES
            )
        return self.values(np.asarray(found[0].numpy(), dtype=np.float64))

    def _units(self, trials: Sequence[FrozenTrial]) -> torch.Tensor:
        """Return the points [N, D] of trials in [0, 1]."""
        dimensions = self.space.dimensions
        vectors = [
            np.array([d.entry(trial.params[d.name]) for d in dimensions]) for trial in trials
        ]
        return torch.tensor(np.stack([self.space.to_unit(v) for v in vectors]))


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
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", BotorchWarning)
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


qlognei = optimiser_of(QLogNEISampler)
