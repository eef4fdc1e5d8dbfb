"""The optimisers by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from search.dimensions import SearchSpace
from search.first_strategies import first_strategies
from search.optimiser import Budget, Optimiser, TrainingBudget
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import TrainingSpace

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


# Each imports what it makes: whoever only asks for names waits neither for Optuna nor for SciPy.
def _random(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _qmc(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import QMCSampler

    return QMCSampler(
        scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
    )


def _tpe(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    # Optuna 5's defaults, pinned: a comparison must not change with the version.
    return TPESampler(n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed)


def _cmaes(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(
        x0={n: v for n, v in space.values_of(*space.starts).items() if isinstance(v, float)},
        seed=seed,
        warn_independent_sampling=False,
    )


def _gp(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=10)


def _nsgaii(space: SearchSpace, seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=20, seed=seed)


SAMPLERS: Mapping[str, Callable[[SearchSpace, int], BaseSampler]] = {
    "random": _random,
    "qmc": _qmc,
    "tpe": _tpe,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsgaii": _nsgaii,
}
"""Optuna's samplers, each seeded and started at the space's start."""

PARETO = "nsgaii-passes"
DESCENTS = ("autonat-reference", "autonat-common-numbers")

OPTIMISERS: tuple[str, ...] = (
    "coarse-to-fine",
    *DESCENTS,
    *SAMPLERS,
    PARETO,
)
"""Those of generation strategies: ours, AutoNAT's as published, its own steps with common
random numbers and whole tokens, Optuna's samplers, and NSGA-II on FID and forward passes."""


TRAINING_OPTIMISERS: tuple[str, ...] = ("autonat-greedy", *SAMPLERS)
"""Those of training strategies: AutoNAT's, and Optuna's samplers."""

JOINT_OPTIMISERS: tuple[str, ...] = tuple(SAMPLERS)
"""Those of training and generation strategies at once."""

ALL_OPTIMISERS: tuple[str, ...] = tuple(dict.fromkeys((*OPTIMISERS, *TRAINING_OPTIMISERS)))


def make_optimiser(
    name: str,
    space: SearchSpace,
    budget: Budget | TrainingBudget,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    tokens: int | None = None,
    controls_first: bool = False,
) -> Optimiser:
    """The optimiser of that name.

    Args:
        name: one of OPTIMISERS; over a training space, of TRAINING_OPTIMISERS; over a joint one,
            of JOINT_OPTIMISERS.
        space: what is searched.
        budget: what the search may spend.
        seed: of the optimiser's own choices and of its evaluations, >= 0.
        settings: keyword settings of the optimiser's class.
        tokens: L of the objective, for those who move whole tokens.
        controls_first: measure the controls that need no search before anything else (see
            `first_strategies`), as coarse-to-fine always does.

    Raises:
        ValueError: a name that is unknown or searches another space (those that do are listed),
            a setting that the optimiser does not have, or one whose value it refuses; controls
            first where generation strategies are not what is searched.
    """
    settings = dict(settings or {})
    known = default_settings(name)
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"optimiser {name} has no setting {setting!r}; it has: {', '.join(known)}"
            )
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative")
    settings = known | settings
    first: list[GenerationStrategy] = []
    if controls_first:
        if not isinstance(space, Space):
            raise ValueError(f"controls_first: a {type(space).__name__} has no controls")
        first = list(first_strategies(space, tokens).values())
    make = optimiser_class(name)
    if isinstance(space, Space) and isinstance(budget, Budget):
        if name == "coarse-to-fine":
            return make(space, budget, seed, tokens, **settings)
        if name in DESCENTS:
            return make(space, budget, seed, tokens, first, **settings)
    trains = isinstance(space, TrainingSpace) and isinstance(budget, TrainingBudget)
    if name == "autonat-greedy" and trains:
        return make(space, budget, seed, **settings)
    if name not in SAMPLERS and not (name == PARETO and isinstance(space, Space)):
        raise ValueError(f"optimiser {name} does not search {type(space).__name__}")

    def make_sampler(space: SearchSpace, seed: int) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # x0 goes in Optuna 6; until then nothing else sets the first mean of CMA-ES.
            warnings.simplefilter("ignore", FutureWarning)
            return SAMPLERS["nsgaii" if name == PARETO else name](space, seed)

    return make(make_sampler, space, budget, seed, first, name == PARETO, **settings)


def default_settings(name: str) -> dict[str, Any]:
    """An optimiser's settings with their defaults.

    Raises:
        ValueError: an unknown name.
    """
    if name not in ALL_OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}; known: {', '.join(ALL_OPTIMISERS)}")
    parameters = inspect.signature(optimiser_class(name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    if name == "autonat-common-numbers":
        defaults = dict.fromkeys(defaults, True)
    return defaults


def optimiser_class(name: str) -> Callable[..., Optimiser]:
    """The class of that optimiser, whose keywords are its settings."""
    if name == "coarse-to-fine":
        from search.optimisers.coarse_to_fine import CoarseToFine

        return CoarseToFine
    if name == "autonat-greedy":
        from search.optimisers.autonat_greedy import AutoNATGreedy

        return AutoNATGreedy
    if name in DESCENTS:
        from search.optimisers.autonat_reference import AutoNATReference

        return AutoNATReference
    from search.optimisers.optuna_sampler import OptunaSampler

    return OptunaSampler
