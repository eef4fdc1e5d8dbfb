"""The optimisers by name, and how users add their own.

An optimiser is one class in one file. It has `ask` and `tell` (see `search.optimiser`), and its
constructor looks like this:

    class Mine:
        searches = ("generation",)  # also "training", "joint"; by default ("generation",)

        def __init__(self, space, budget, seed, *, step: float = 0.1) -> None: ...

The keyword-only arguments are its settings; their annotations give the types. Before them, it may
also take `tokens` (L of the objective, or None), `first` (strategies to measure before any of its
own) and `earlier` (see `search.earlier.EarlierSearch`). It is chosen as `package.module:Mine`, or
by a name that is registered with `@OPTIMISERS_BY_NAME.register("mine")` or by a package under the
entry point group `autonat.optimisers`. `search.testing` checks whether it keeps the rules.
docs/extending/spsa.py is an example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from search.dimensions import SearchSpace
from search.first_strategies import first_strategies
from search.names import did_you_mean
from search.optimiser import Budget, Optimiser, TrainingBudget
from search.plugins import Registry
from search.reading import shown
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace
from search.user_code import explained

if TYPE_CHECKING:
    from search.earlier import EarlierSearch

Searches = Literal["generation", "training", "joint"]
SPACES: Mapping[Searches, type[SearchSpace]] = {
    "generation": Space,
    "training": TrainingSpace,
    "joint": JointSpace,
}
"""What an optimiser may search, and the space of each."""

PARETO = "nsgaii-passes"
SAMPLERS = ("random", "qmc", "tpe", "cmaes", "gp", "nsgaii")
"""Optuna's samplers, which search every space."""
OPTIONAL = {"qlognei": "botorch", "smac": "smac"}
"""Optimisers that need a library which is not installed with autonat, and the extra that has it."""

# The place of each built-in optimiser and what it searches, so that listing them imports none.
_BUILT_IN: dict[str, tuple[str, tuple[Searches, ...]]] = {
    "coarse-to-fine": ("coarse_to_fine:CoarseToFine", ("generation",)),
    "autonat-reference": ("autonat_reference:AutoNATReference", ("generation",)),
    "autonat-common-numbers": ("autonat_reference:common_numbers", ("generation",)),
    "autonat-greedy": ("autonat_greedy:AutoNATGreedy", ("training",)),
    **{name: (f"samplers:{name}", ("generation", "training", "joint")) for name in SAMPLERS},
    PARETO: ("samplers:nsgaii_passes", ("generation",)),
    **{name: (f"{name}:{name}", ("generation",)) for name in OPTIONAL},
}

OPTIMISERS_BY_NAME: Registry[Callable[..., Optimiser]] = Registry(
    "optimiser", {name: f"search.optimisers.{place}" for name, (place, _) in _BUILT_IN.items()}
)
"""Every optimiser: built in, registered in code, and registered by packages."""


def _built_in_for(searches: Searches) -> tuple[str, ...]:
    return tuple(name for name, (_, able) in _BUILT_IN.items() if searches in able)


OPTIMISERS = tuple(name for name in _built_in_for("generation") if name not in OPTIONAL)
"""Built-in optimisers of generation strategies: coarse-to-fine, AutoNAT's search as published, the
same with common random numbers and whole tokens, Optuna's samplers, and NSGA-II on the metric and
forward passes."""
TRAINING_OPTIMISERS = _built_in_for("training")
"""Built-in optimisers of training strategies: AutoNAT's search and Optuna's samplers."""
JOINT_OPTIMISERS = _built_in_for("joint")
"""Built-in optimisers of training and generation strategies together."""
ALL_OPTIMISERS = tuple(name for name in _BUILT_IN if name not in OPTIONAL)
"""All built-in optimisers but the optional ones."""


def optimiser_class(name: str) -> Callable[..., Optimiser]:
    """Return the class of an optimiser, or the function that makes it; keywords are its settings.

    Raises:
        ValueError: the name is unknown (the known names are listed), or a user's code does not
            import.
    """
    if ":" not in str(name) and name not in OPTIMISERS_BY_NAME.names():
        raise _unknown_optimiser(name, OPTIMISERS_BY_NAME.names())
    return OPTIMISERS_BY_NAME.load(name)


def searches_of(name: str) -> tuple[str, ...]:
    """Return what an optimiser searches: some of the names in SPACES.

    Raises:
        ValueError: see `optimiser_class`; or its attribute `searches` is not valid.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name][1]
    declared = getattr(optimiser_class(name), "searches", ("generation",))
    if isinstance(declared, str) or not declared or not set(declared) <= set(SPACES):
        raise ValueError(
            f"optimiser {name}: expected searches to be a tuple of some of {', '.join(SPACES)}, "
            f"got {shown(declared)}"
        )
    return tuple(declared)


def require_optimiser(name: str, searches: Searches) -> None:
    """Refuse an optimiser that is unknown or does not search this.

    Raises:
        ValueError: it is unknown or does not search this; the line lists those that do.
    """
    if name in _built_in_for(searches):
        return
    names = OPTIMISERS_BY_NAME.names()
    if ":" not in name and name not in names:
        added = [n for n in names if n not in _BUILT_IN]
        raise _unknown_optimiser(name, [*_built_in_for(searches), *added])
    if searches not in searches_of(name):
        able = " and ".join(searches_of(name))
        raise ValueError(
            f"optimiser {name} searches {able} strategies, not {searches} strategies; these "
            f"optimisers do: {', '.join(_built_in_for(searches))}"
        )


def require_learns(name: str) -> None:
    """Refuse an optimiser that cannot learn from earlier searches.

    Raises:
        ValueError: it takes none; or see `optimiser_class`.
    """
    if "earlier" not in inspect.signature(optimiser_class(name)).parameters:
        raise ValueError(
            f"optimiser {name} does not learn from earlier searches; coarse-to-fine does"
        )


def _unknown_optimiser(name: object, known: list[str]) -> ValueError:
    close = did_you_mean(name, known) if isinstance(name, str) else ""
    listed = f"{', '.join(known)}, or package.module:Class of your own"
    return ValueError(f"unknown optimiser {shown(name)}{close}; known: {listed}")


def default_settings(name: str) -> dict[str, Any]:
    """Return the settings of an optimiser with their defaults.

    Raises:
        ValueError: the name is unknown, or a keyword-only argument of the class has no default.
    """
    parameters = inspect.signature(optimiser_class(name)).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    for setting, default in found.items():
        if default is inspect.Parameter.empty:
            raise ValueError(f"optimiser {name}: the setting {setting} has no default")
    return found


def make_optimiser(
    name: str,
    space: SearchSpace,
    budget: Budget | TrainingBudget,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    tokens: int | None = None,
    controls_first: bool = False,
    earlier: Sequence[EarlierSearch] = (),
) -> Optimiser:
    """Make the optimiser of that name.

    Args:
        name: the name of an optimiser that searches such a space.
        space: the space to search.
        budget: what the search may spend.
        seed: the seed of the optimiser's own choices and of its evaluations, >= 0.
        settings: keyword settings of the optimiser's class.
        tokens: L of the objective, for optimisers that move mask ratios by whole tokens.
        controls_first: whether to measure the controls before anything else (see
            `first_strategies`), as coarse-to-fine always does.
        earlier: finished searches from whose evaluations it learns.

    Raises:
        ValueError: a name that is unknown or searches another space, a setting that the optimiser
            does not have, or one whose value it refuses; controls first where generation strategies
            are not what is searched, or by an optimiser that takes none; or earlier searches for an
            optimiser that does not learn from any.
    """
    settings, known = dict(settings or {}), default_settings(name)
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"optimiser {name} has no setting {setting!r}{did_you_mean(setting, known)}; it "
                f"has: {', '.join(known)}"
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
        if settings.get("begin_with_controls") is False:
            raise ValueError(
                f"controls_first: the setting begin_with_controls of {name} is False, which says "
                "the opposite"
            )
        given["first"] = _controls_to_measure(name, make, space, tokens)
    takes = inspect.signature(make).parameters
    if earlier:
        require_learns(name)
        given["earlier"] = earlier
    extra = {key: value for key, value in given.items() if key in takes}
    with explained(f"optimiser {name}, when it is made", make):
        made = make(space, budget, seed, **extra, **(known | settings))
    for method in ("ask", "tell"):
        if not callable(getattr(made, method, None)):
            raise ValueError(f"optimiser {name} lacks the method {method}")
    return made


def _controls_to_measure(
    name: str, make: Callable[..., Optimiser], space: SearchSpace, tokens: int | None
) -> list[GenerationStrategy]:
    if not isinstance(space, Space):
        raise ValueError("controls_first: only searches of generation strategies have controls")
    always = getattr(make, "begins_with_controls", False)
    if not always and "first" not in inspect.signature(make).parameters:
        raise ValueError(f"optimiser {name} takes no strategies to measure first")
    return list(first_strategies(space, tokens).values())
