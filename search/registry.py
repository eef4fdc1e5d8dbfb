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

from search.autonat_reference import AutoNATReference
from search.coarse_to_fine import CoarseToFine
from search.optimiser import Budget, Optimiser
from search.optuna_sampler import OptunaSampler
from search.space import Space

SAMPLERS: Mapping[str, Callable[[Space, int], BaseSampler]] = {
    "random": lambda space, seed: RandomSampler(seed=seed),
    "qmc": lambda space, seed: QMCSampler(
        scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
    ),
    # Optuna 5's defaults, pinned: a comparison must not change with the version.
    "tpe": lambda space, seed: TPESampler(
        n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed
    ),
    "cmaes": lambda space, seed: CmaEsSampler(
        x0={n: float(v) for n, v in zip(space.names, space.to_vector(space.start), strict=True)},
        seed=seed,
        warn_independent_sampling=False,
    ),
    "gp": lambda space, seed: GPSampler(seed=seed, n_startup_trials=10),
    "nsgaii": lambda space, seed: NSGAIISampler(population_size=20, seed=seed),
}
"""Optuna's samplers, each seeded and started at the space's start."""

PARETO = "nsgaii-passes"

OPTIMISERS: tuple[str, ...] = (
    "coarse-to-fine",
    "autonat-reference",
    "autonat-common-numbers",
    *SAMPLERS,
    PARETO,
)
"""The names that `make_optimiser` knows: ours, AutoNAT's as published, its own steps with common
random numbers and whole tokens, Optuna's samplers, and NSGA-II on FID and forward passes."""


def make_optimiser(
    name: str,
    space: Space,
    budget: Budget,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    tokens: int | None = None,
) -> Optimiser:
    """The optimiser of that name.

    Args:
        name: one of OPTIMISERS.
        space: what is searched.
        budget: what the search may spend.
        seed: of the optimiser's own choices and of its evaluations, >= 0.
        settings: keyword settings of the optimiser's class.
        tokens: L of the objective, for those who move whole tokens.

    Raises:
        ValueError: an unknown name (the known ones are listed), a setting that the optimiser does
            not have, or one whose value it refuses.
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
    if name == "coarse-to-fine":
        return CoarseToFine(space, budget, seed, tokens, **settings)
    if name not in SAMPLERS and name != PARETO:
        return AutoNATReference(space, budget, seed, tokens, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # x0 goes in Optuna 6; until then nothing else sets the first mean of CMA-ES.
        warnings.simplefilter("ignore", FutureWarning)
        sampler = SAMPLERS["nsgaii" if name == PARETO else name](space, seed)
    return OptunaSampler(sampler, space, budget, seed, name == PARETO, **settings)


def default_settings(name: str) -> dict[str, Any]:
    """An optimiser's settings with their defaults.

    Raises:
        ValueError: an unknown name.
    """
    if name not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}; known: {', '.join(OPTIMISERS)}")
    face: type[CoarseToFine | AutoNATReference | OptunaSampler] = OptunaSampler
    if name not in SAMPLERS and name != PARETO:
        face = CoarseToFine if name == "coarse-to-fine" else AutoNATReference
    parameters = inspect.signature(face).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    if name == "autonat-common-numbers":
        defaults = dict.fromkeys(defaults, True)
    return defaults
