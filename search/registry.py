"""The optimisers by name, and how somebody's own joins them.

An optimiser is one class in one file: `ask` and `tell` as search.optimiser says, made as

    class Mine:
        searches = ("generation",)  # or "training", "joint"; the first alone where it is not said

        def __init__(self, space, budget, seed, *, step: float = 0.1) -> None: ...

Its keywords are its settings, of the types that they are annotated with. It may also take `tokens`
(L of the objective, or None) and `first` (strategies to measure before any of its own) between the
seed and its settings. It is found as `package.module:Mine`, or by a name: with
`@OPTIMISERS_BY_NAME.register("mine")`, or in a package under the entry point group
`autonat.optimisers`. `search.testing` tells whether it keeps the rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from search.dimensions import SearchSpace
from search.first_strategies import first_strategies
from search.optimiser import Budget, Optimiser, TrainingBudget
from search.plugins import Registry
from search.reading import shown
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace

Searches = Literal["generation", "training", "joint"]
SPACES: Mapping[Searches, type[SearchSpace]] = {
    "generation": Space,
    "training": TrainingSpace,
    "joint": JointSpace,
}
"""What an optimiser may search."""

PARETO = "nsgaii-passes"
SAMPLERS = ("random", "qmc", "tpe", "cmaes", "gp", "nsgaii")
"""Optuna's samplers, which search every space."""

# Where ours are and what they search, said here as well, so that names cost no import.
_OURS: dict[str, tuple[str, tuple[Searches, ...]]] = {
    "coarse-to-fine": ("coarse_to_fine:CoarseToFine", ("generation",)),
    "autonat-reference": ("autonat_reference:AutoNATReference", ("generation",)),
    "autonat-common-numbers": ("autonat_reference:AutoNATCommonNumbers", ("generation",)),
    "autonat-greedy": ("autonat_greedy:AutoNATGreedy", ("training",)),
    **{name: (f"samplers:{name}", ("generation", "training", "joint")) for name in SAMPLERS},
    PARETO: ("samplers:nsgaii_passes", ("generation",)),
}

OPTIMISERS_BY_NAME: Registry[Callable[..., Optimiser]] = Registry(
    "optimiser", {name: f"search.optimisers.{place}" for name, (place, _) in _OURS.items()}
)
"""Every optimiser: ours, those registered in code and those of packages."""


def _ours(searches: Searches) -> tuple[str, ...]:
    return tuple(name for name, (_, able) in _OURS.items() if searches in able)


OPTIMISERS = _ours("generation")
"""Ours of generation strategies: coarse-to-fine, AutoNAT's as published, its own steps with common
random numbers and whole tokens, Optuna's samplers, and NSGA-II on FID and forward passes."""
TRAINING_OPTIMISERS = _ours("training")
"""Ours of training strategies: AutoNAT's, and Optuna's samplers."""
JOINT_OPTIMISERS = _ours("joint")
"""Ours of training and generation strategies at once."""
ALL_OPTIMISERS = tuple(_OURS)


def optimiser_class(name: str) -> Callable[..., Optimiser]:
    """The class of that optimiser, or a function in its place, whose keywords are its settings.

    Raises:
        ValueError: an unknown name (the known ones are listed), or somebody's own code that does
            not import.
    """
    if ":" not in str(name) and name not in OPTIMISERS_BY_NAME.names():
        raise _unknown(name, OPTIMISERS_BY_NAME.names())
    return OPTIMISERS_BY_NAME.load(name)


def searches_of(name: str) -> tuple[str, ...]:
    """What that optimiser searches: any of the names in SPACES.

    Raises:
        ValueError: see `optimiser_class`, or a declaration that names something else.
    """
    if name in _OURS:
        return _OURS[name][1]
    declared = getattr(optimiser_class(name), "searches", ("generation",))
    if isinstance(declared, str) or not declared or not set(declared) <= set(SPACES):
        raise ValueError(
            f"optimiser {name}: searches = {shown(declared)} is not a tuple of some of "
            f"{', '.join(SPACES)}"
        )
    return tuple(declared)


def require_optimiser(name: str, searches: Searches) -> None:
    """Refuse a name that is unknown or of an optimiser of something else.

    Raises:
        ValueError: the known names of those that do search it are listed.
    """
    if name in _ours(searches):
        return
    names = OPTIMISERS_BY_NAME.names()
    if ":" not in name and name not in names:
        raise _unknown(name, [*_ours(searches), *(n for n in names if n not in _OURS)])
    if searches not in searches_of(name):
        able = " and ".join(searches_of(name))
        raise ValueError(
            f"optimiser {name} searches {able} strategies, not {searches} ones; those that do: "
            f"{', '.join(_ours(searches))}"
        )


def _unknown(name: object, known: list[str]) -> ValueError:
    listed = f"{', '.join(known)}, or package.module:Class of your own"
    return ValueError(f"unknown optimiser {shown(name)}; known: {listed}")


def default_settings(name: str) -> dict[str, Any]:
    """An optimiser's settings with their defaults.

    Raises:
        ValueError: an unknown name, or a keyword of its class that has no default.
    """
    parameters = inspect.signature(optimiser_class(name)).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    for setting, default in found.items():
        if default is inspect.Parameter.empty:
            raise ValueError(f"optimiser {name}: its setting {setting} has no default")
    return found


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
        name: of an optimiser that searches such a space.
        space: what is searched.
        budget: what the search may spend.
        seed: of the optimiser's own choices and of its evaluations, >= 0.
        settings: keyword settings of the optimiser's class.
        tokens: L of the objective, for those who move whole tokens.
        controls_first: measure the controls that need no search before anything else (see
            `first_strategies`), as coarse-to-fine always does.

    Raises:
        ValueError: a name that is unknown or searches another space, a setting that the optimiser
            does not have, or one whose value it refuses; controls first where generation strategies
            are not what is searched, or by an optimiser that takes none.
    """
    settings, known = dict(settings or {}), default_settings(name)
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"optimiser {name} has no setting {setting!r}; it has: {', '.join(known)}"
            )
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative")
    trains = not isinstance(space, Space)
    able = tuple(SPACES[searches] for searches in searches_of(name))  # type: ignore[index]
    if not isinstance(space, able) or trains != isinstance(budget, TrainingBudget):
        raise ValueError(f"optimiser {name} does not search {type(space).__name__}")
    make = optimiser_class(name)
    given: dict[str, Any] = {"tokens": tokens}
    if controls_first:
        given["first"] = _controls(name, make, space, tokens)
    takes = inspect.signature(make).parameters
    extra = {key: value for key, value in given.items() if key in takes}
    return make(space, budget, seed, **extra, **(known | settings))


def _controls(
    name: str, make: Callable[..., Optimiser], space: SearchSpace, tokens: int | None
) -> list[GenerationStrategy]:
    if not isinstance(space, Space):
        raise ValueError(f"controls_first: a {type(space).__name__} has no controls")
    always = getattr(make, "begins_with_controls", False)
    if not always and "first" not in inspect.signature(make).parameters:
        raise ValueError(f"optimiser {name} takes no strategies to measure first")
    return list(first_strategies(space, tokens).values())
