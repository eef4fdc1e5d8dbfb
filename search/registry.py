"""The optimisers by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from search.autonat_greedy import AutoNATGreedy
from search.autonat_reference import AutoNATReference
from search.coarse_to_fine import CoarseToFine
from search.first_strategies import first_strategies
from search.optimiser import Budget, Optimiser, TrainingBudget
from search.optuna_sampler import OptunaSampler
from search.space import SearchSpace, Space
from search.strategy import GenerationStrategy
from search.training_space import TrainingSpace

SAMPLERS: Mapping[str, Callable[[SearchSpace, int], BaseSampler]] = {
    "random": lambda space, seed: RandomSampler(seed=seed),
    "qmc": lambda space, seed: QMCSampler(
        scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
    ),
    # Optuna 5's defaults, pinned: a comparison must not change with the version.
    "tpe": lambda space, seed: TPESampler(
        n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed
    ),
    "cmaes": lambda space, seed: CmaEsSampler(
        x0={n: float(v) for n, v in zip(space.names, space.start_vector, strict=True)},
        seed=seed,
        warn_independent_sampling=False,
    ),
    "gp": lambda space, seed: GPSampler(seed=seed, n_startup_trials=10),
    "nsgaii": lambda space, seed: NSGAIISampler(population_size=20, seed=seed),
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
    if isinstance(space, Space) and isinstance(budget, Budget):
        if name == "coarse-to-fine":
            return CoarseToFine(space, budget, seed, tokens, **settings)
        if name in DESCENTS:
            return AutoNATReference(space, budget, seed, tokens, first, **settings)
    trains = isinstance(space, TrainingSpace) and isinstance(budget, TrainingBudget)
    if name == "autonat-greedy" and trains:
        return AutoNATGreedy(space, budget, seed, **settings)  # type: ignore[arg-type]
    if name not in SAMPLERS and not (name == PARETO and isinstance(space, Space)):
        raise ValueError(f"optimiser {name} does not search {type(space).__name__}")

    def make_sampler(space: SearchSpace, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # x0 goes in Optuna 6; until then nothing else sets the first mean of CMA-ES.
            warnings.simplefilter("ignore", FutureWarning)
            return SAMPLERS["nsgaii" if name == PARETO else name](space, seed)

    return OptunaSampler(make_sampler, space, budget, seed, first, name == PARETO, **settings)


def default_settings(name: str) -> dict[str, Any]:
    """An optimiser's settings with their defaults.

    Raises:
        ValueError: an unknown name.
    """
    if name not in ALL_OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}; known: {', '.join(ALL_OPTIMISERS)}")
    own: Mapping[str, type] = {
        "coarse-to-fine": CoarseToFine,
        "autonat-greedy": AutoNATGreedy,
        **dict.fromkeys(DESCENTS, AutoNATReference),
    }
    face = own.get(name, OptunaSampler)
    parameters = inspect.signature(face).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    if name == "autonat-common-numbers":
        defaults = dict.fromkeys(defaults, True)
    return defaults
