"""Optuna's samplers as optimisers, each seeded, and starting at the start of the space.

To add a sampler, write a function here that makes it, and add its name in search.registry.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from search.dimensions import SearchSpace
from search.optimiser import Optimiser
from search.optimisers.optuna_sampler import OptunaSampler

MakeSampler = Callable[[SearchSpace, int], BaseSampler]


def optimiser_of(make: MakeSampler, passes: bool = False) -> Callable[..., Optimiser]:
    """Return a function that makes the optimiser of a sampler; see `OptunaSampler`."""
    return functools.partial(OptunaSampler, _without_warnings(make), passes)


def _without_warnings(make: MakeSampler) -> MakeSampler:
    def made(space: SearchSpace, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # x0 is deprecated and will go in Optuna 6, but nothing else sets the first mean.
            warnings.simplefilter("ignore", FutureWarning)
            return make(space, seed)

    return made


def _cmaes(space: SearchSpace, seed: int) -> BaseSampler:
    start = {n: v for n, v in space.values_of(*space.starts).items() if isinstance(v, float)}
    return CmaEsSampler(x0=start, seed=seed, warn_independent_sampling=False)


def _qmc(space: SearchSpace, seed: int) -> BaseSampler:
    return QMCSampler(
        scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
    )


def _nsgaii(space: SearchSpace, seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=20, seed=seed)


random = optimiser_of(lambda space, seed: RandomSampler(seed=seed))
qmc = optimiser_of(_qmc)
# The defaults of Optuna 5, fixed here so that comparisons do not change with Optuna's version.
tpe = optimiser_of(
    lambda space, seed: TPESampler(
        n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed
    )
)
cmaes = optimiser_of(_cmaes)
gp = optimiser_of(lambda space, seed: GPSampler(seed=seed, n_startup_trials=10))
nsgaii = optimiser_of(_nsgaii)
nsgaii_passes = optimiser_of(_nsgaii, passes=True)
