"""The settings of a search, one class for each kind of search.

The single settings are declared in `setting_groups`, and `reading` reads them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from search.bound import Bound
from search.choices import CHOICES
from search.controls import CONTROLS, START
from search.dimensions import SearchSpace
from search.names import (
    derived_search_name,
    require_distinct,
    require_known,
    require_search_name,
)
from search.optimiser import Budget, TrainingBudget
from search.registry import (
    ALL_OPTIMISERS,
    SAMPLERS,
    TRAINING_OPTIMISERS,
    Searches,
    default_settings,
    optimiser_class,
    require_learns,
    require_optimiser,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy, distribution
from trials.lab import require_different_files
from trials.objectives.typed_settings import typed_settings
from trials.searches.setting_groups import (
    GROUPS,
    Beginning,
    BoundSettings,
    Budgets,
    Methods,
    Rounds,
    Searched,
    Tested,
    Trained,
    WhereItRuns,
)

USUAL: dict[str, Any] = {
    name: field.get_default() for group in GROUPS for name, field in group.model_fields.items()
}
"""All settings of all kinds of searches, with their defaults where these are fixed values."""

WHERE_IT_RUNS = {"name", *WhereItRuns.model_fields}
"""Settings that may differ when a search is resumed."""

KEPT_PLACE = {"runner", "workers", "gpus_per_trial", "evaluations_together"}
"""Settings of where a search runs that it has again when it is resumed, unless others are given."""

LATER = {"choices", "controls_first", "learn_from", "series", "test_metric"}
"""Settings that the first version of the record did not have."""

LATER_OF_OPTIMISERS = {"begin_with_controls", "coordinates", "gradients"}
"""Settings of built-in optimisers that the first version of the record did not have."""


class SearchSettings(WhereItRuns, Tested, Budgets, Methods, Searched):
    """One search: the same problem given to one or more optimisers, and a final test of all.

    The base classes stand from last to first: `what` comes first and decides default optimisers.
    """

    optimised: ClassVar[Searches]
    """Which strategies `optimisers` search."""
    stoppable: ClassVar[tuple[str, ...]]
    """Optimisers whose trials ASHA can stop against each other."""
    growing: ClassVar[str]
    """The name of the setting that grows from rung to rung."""

    @abstractmethod
    def space(self) -> SearchSpace:
        """The space that is searched.

        Raises:
            ValueError: the bounds or the start are not valid.
        """

    @abstractmethod
    def budget_of_one(self) -> Budget | TrainingBudget:
        """What each optimiser may spend.

        Raises:
            ValueError: it does not pay for one evaluation.
        """

    def all_optimisers(self) -> list[str]:
        """The optimisers of all searches that these settings start."""
        return self.optimisers

    def scheduled_optimisers(self) -> list[str]:
        """The optimisers whose trials a scheduler would stop."""
        return self.optimisers

    @property
    def begins_with_controls(self) -> bool:
        """Whether every optimiser first measures the start and the controls."""
        return False

    @property
    def learns_from(self) -> Sequence[str]:
        """The names of the searches from whose evaluations the optimisers learn."""
        return ()

    @model_validator(mode="after")
    def _known_names(self) -> SearchSettings:
        for what, names, known in (
            ("control", self.controls, (*CONTROLS, START)),
            ("choice", self.choices, tuple(CHOICES)),
        ):
            require_known(what, [*names], known)
        for name in self.optimisers:
            require_optimiser(name, self.optimised)
        for name in self.optimiser_settings:
            optimiser_class(name)
        for what in ("optimisers", "test_seeds", "frozen", "controls"):
            require_distinct(what, getattr(self, what))
        require_distinct("learn_from", self.learns_from)
        for name in self.optimisers if self.learns_from else ():
            require_learns(name)
        return self

    @model_validator(mode="after")
    def _optimisers_take_them(self) -> SearchSettings:
        """Check the types of known settings; unknown ones are refused when the optimiser is
        made."""
        for name, values in self.optimiser_settings.items():
            if name not in self.all_optimisers():
                raise ValueError(f"optimiser_settings: {name} is not an optimiser of this search")
            known = {key: values[key] for key in values if key in default_settings(name)}
            typed_settings(f"optimiser {name}", optimiser_class(name), known)
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> SearchSettings:
        if self.name is not None:
            require_search_name(self.name, half_round=self.alternation is not None)
        require_different_files([*self.optimisers, *self.controls])
        return self

    @model_validator(mode="after")
    def _one_sampler_for_asha(self) -> SearchSettings:
        if self.scheduler is None:
            return self
        if self.runner != "ray":
            raise ValueError("scheduler asha: expected runner = ray, which has it, got local")
        names = self.scheduled_optimisers()
        if len(names) > 1 or names[0] not in self.stoppable:
            raise ValueError(
                f"scheduler asha: expected one optimiser of {', '.join(self.stoppable)}, got "
                f"{', '.join(names)}"
            )
        return self

    def rungs(self) -> tuple[int, ...] | None:
        """The growing n, or training steps, at which to measure; None without a scheduler.

        Raises:
            ValueError: the whole is too small for three rungs.
        """
        if self.scheduler is None:
            return None
        whole = getattr(self, self.growing)
        quarter = -(-whole // 4)
        rungs = (quarter, 2 * quarter, whole)  # which double, as those of Ray's scheduler do
        if len(set(rungs)) < len(rungs):
            raise ValueError(
                f"{self.growing} = {whole}: too small for the three rungs of a scheduler"
            )
        return rungs

    def generation_space(self) -> Space:
        """The space of generation strategies; where these are not searched, its start is used.

        Raises:
            ValueError: the bounds or the start are not valid.
        """
        if isinstance(self.start, dict):
            start = GenerationStrategy.from_json(self.start).with_steps(self.steps)
        elif str(self.start) in CONTROLS:
            start = CONTROLS[str(self.start)](self.steps)
            if start.steps != self.steps:
                raise ValueError(
                    f"start: expected a strategy of T = {self.steps} steps, got {self.start}, "
                    f"which has {start.steps}"
                )
        else:  # in old records, which name the strategy file itself
            start = StrategyFile.read(self.start).generation.with_steps(self.steps)
        searched = {}
        for name, values in self.choices.items():
            if len(values) != 1:
                searched[name] = tuple(values)
            if values and start.choices()[name] not in values:
                start = start.with_values({}, {name: values[0]})
        bounds = _bounds(self.bounds)
        return Space(start, bounds, self.frozen, self.max_forward_passes, searched)

    def completed(self) -> Self:
        """These settings with every setting of the optimisers filled in.

        Settings that are not given have their defaults, except that at least two probes a worker,
        or twice its `evaluations_together`, may be in flight. A resumed search keeps them even if
        its number of workers changes. Defaults of LATER_OF_OPTIMISERS are left out, so that
        searches from before they existed are the same problems.
        """
        complete = {}
        for optimiser in self.all_optimisers():
            settings = default_settings(optimiser)
            later = LATER_OF_OPTIMISERS if optimiser in ALL_OPTIMISERS else set()
            usual = {key: settings[key] for key in later & settings.keys()}
            if "max_in_flight" in settings:
                fewest = 2 * self.workers * self.evaluations_together
                settings["max_in_flight"] = max(settings["max_in_flight"], fewest)
            settings |= self.optimiser_settings.get(optimiser, {})
            complete[optimiser] = {
                key: value
                for key, value in settings.items()
                if key not in usual or value != usual[key]
            }
        return self.model_copy(update={"optimiser_settings": complete})

    def problem(self) -> dict[str, Any]:
        """What is searched and how, as JSON values: all that may not change when it is resumed.

        It holds the settings of every kind of search. Unused ones of LATER are left out, so that
        searches from before they existed are the same problems, with the same derived names.
        """
        whole = USUAL | self.model_dump(mode="json")
        unused = {name for name in LATER if whole[name] == USUAL[name]}
        return {key: value for key, value in whole.items() if key not in WHERE_IT_RUNS | unused}

    def place(self) -> dict[str, Any]:
        """The settings of KEPT_PLACE that were given, as JSON values."""
        return self.model_dump(mode="json", include=KEPT_PLACE, exclude_unset=True)

    def full_name(self) -> str:
        """The name of the search; if none is given, it is derived from the problem."""
        if self.name is not None:
            return self.name
        return derived_search_name(self.objective, self.steps, self.problem())


class GenerationSearch(Beginning, SearchSettings):
    """A search of the generation strategies of a given model."""

    what: Literal["generation"] = "generation"
    optimised = "generation"
    stoppable = SAMPLERS
    growing = "images_per_evaluation"

    @property
    def begins_with_controls(self) -> bool:
        """See `SearchSettings.begins_with_controls`."""
        return self.controls_first

    @property
    def learns_from(self) -> Sequence[str]:
        """See `SearchSettings.learns_from`."""
        return self.learn_from

    def space(self) -> Space:
        """See `SearchSettings.space`."""
        return self.generation_space()

    def budget_of_one(self) -> Budget:
        """See `SearchSettings.budget_of_one`."""
        return Budget(self.budget, self.images_per_evaluation)


class TrainedSearch(Trained, SearchSettings):
    """A search that trains a model for each evaluation."""

    growing = "training_steps"

    def training_space(self) -> TrainingSpace:
        """The space of training strategies.

        Raises:
            ValueError: the bounds or the start are not valid.
        """
        family = self.mask_ratio_distribution
        values = {**distribution(family).start, **self.training_start}
        start = TrainingStrategy(family, values)
        generation = self.generation_space().start
        return TrainingSpace(start, generation, _bounds(self.training_bounds))

    def budget_of_one(self) -> TrainingBudget:
        """See `SearchSettings.budget_of_one`."""
        return TrainingBudget(self.training_budget, self.training_steps, self.images_per_evaluation)


class TrainingSearch(TrainedSearch):
    """A search of training strategies; the start's generation strategy measures each model."""

    what: Literal["training"] = "training"
    optimised = "training"
    stoppable = TRAINING_OPTIMISERS

    def space(self) -> TrainingSpace:
        """See `SearchSettings.space`."""
        return self.training_space()


class JointSearch(TrainedSearch):
    """A search of training and generation strategies at once."""

    what: Literal["joint"] = "joint"
    optimised = "joint"
    stoppable = SAMPLERS

    def space(self) -> JointSpace:
        """See `SearchSettings.space`."""
        return JointSpace(self.training_space(), self.generation_space())


class AlternationSettings(Rounds, TrainedSearch):
    """Rounds that search training and generation strategies in turn.

    A scheduler stops only trainings.
    """

    what: Literal["both"] = "both"
    optimised = "generation"
    stoppable = TRAINING_OPTIMISERS

    def space(self) -> JointSpace:
        """See `SearchSettings.space`."""
        return JointSpace(self.training_space(), self.generation_space())

    def all_optimisers(self) -> list[str]:
        """See `SearchSettings.all_optimisers`."""
        return [*self.optimisers, self.training_optimiser]

    def scheduled_optimisers(self) -> list[str]:
        """See `SearchSettings.scheduled_optimisers`."""
        return [self.training_optimiser]

    @model_validator(mode="after")
    def _known_training_optimiser(self) -> AlternationSettings:
        require_optimiser(self.training_optimiser, "training")
        return self


def _bounds(given: dict[str, BoundSettings]) -> dict[str, Bound]:
    found = {}
    for name, b in given.items():
        try:
            found[name] = Bound(b.low, b.high, b.log)
        except ValueError as error:
            raise ValueError(f"bounds of {name}: {error}") from None
    return found
