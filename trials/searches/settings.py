"""What a search is asked to do: everything that a flag or the YAML study file can say."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from search.bound import Bound
from search.controls import CONTROLS
from search.dimensions import SearchSpace
from search.optimiser import FIRST_SEARCH_SEED, Budget, TrainingBudget
from search.reading import LARGEST_INTEGER, shown
from search.registry import (
    ALL_OPTIMISERS,
    JOINT_OPTIMISERS,
    OPTIMISERS,
    SAMPLERS,
    TRAINING_OPTIMISERS,
    default_settings,
    optimiser_class,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy, distribution
from trials.lab import LONGEST_NAME, NAME
from trials.objectives.named_paths import with_absolute_paths
from trials.objectives.objective import OBJECTIVES
from trials.objectives.typed_settings import typed_settings
from trials.searches.study_file import laid_over, read_study_file

OPTIMISERS_OF: dict[str, tuple[str, ...]] = {
    "generation": OPTIMISERS,
    "training": TRAINING_OPTIMISERS,
    "joint": JOINT_OPTIMISERS,
    "both": OPTIMISERS,
}
DEFAULT_OPTIMISERS = {
    "generation": "coarse-to-fine",
    "training": "autonat-greedy",
    "joint": "tpe",
    "both": "coarse-to-fine",
}


def _usual_optimiser(settings: dict[str, Any]) -> list[str]:
    return [DEFAULT_OPTIMISERS[settings.get("what", "generation")]]


# Taken strictly: a text, true or 4.7 is no whole number, and neither is 1.0.
Seed = Annotated[int, Field(strict=True, ge=0, lt=FIRST_SEARCH_SEED)]
Count = Annotated[int, Field(strict=True, gt=0, le=LARGEST_INTEGER)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


TRAINING_FIELDS = (
    "mask_ratio_distribution",
    "training_start",
    "training_bounds",
    "training_steps",
    "training_budget",
    "fine_tune_from",
)
"""Settings of searches that train."""


class BoundSettings(BaseModel):
    """The bounds of a schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: Number
    high: Number
    log: StrictBool = False


class SearchSettings(BaseModel):
    """One search: the same problem given to one optimiser or several, then a final test of all.

    Attributes:
        name: of the search; its studies are NAME-OPTIMISER and NAME-test. Derived from what is
            searched where it is not given.
        objective: a registered name, or package.module:Class.
        objective_settings: keywords of the objective.
        steps: T.
        start: a generation strategy as JSON, or the name of a control, to start from (read off at
            T steps); of a strategy file, what it holds.
        what: is searched: "generation" strategies of a given model, "training" strategies (a model
            is trained for each evaluation, and measured with the start's generation strategy),
            both at once ("joint"), or both in turn, in rounds ("both").
        rounds: of an alternation, at most.
        training_optimiser: of an alternation; `optimisers` then holds the one of its generation
            searches.
        fine_tune: an alternation's later rounds train on from the last round's weights.
        mask_ratio_distribution: that a training search looks for the parameters of.
        training_start: where it starts, by parameter; those left out start where the family does.
        training_bounds: by parameter, in place of the default ones.
        training_steps: of a model that is trained for an evaluation.
        training_budget: steps that each optimiser may train in all; in each round of an
            alternation.
        fine_tune_from: hash of stored weights that every training goes on from; None trains from
            new ones.
        alternation: the name of the alternation that this search is a half-round of, or None.
        optimisers: names; by default coarse-to-fine, autonat-greedy for training, tpe for joint.
        optimiser_settings: keywords by optimiser.
        bounds: by schedule, in place of the default ones.
        frozen: schedules that keep the start's values.
        max_forward_passes: an image, or None.
        budget: images that each optimiser may generate; in each round of an alternation.
        images_per_evaluation: n of an evaluation.
        scheduler: "asha" measures at a quarter, at half and at the whole of n, or of the training
            steps, and Ray's ASHA stops the worse half at the first two; None measures once.
        seed: of the optimisers.
        controls_first: every method begins by measuring the start and the controls of this T, as
            coarse-to-fine always does; those that start from a point take the best of them.
        controls: strategies without search to test beside the winners.
        test_images: n of an evaluation of the final test.
        test_seeds: its seeds.
        lab: folder of the project's files.
        record_url: Optuna storage; None is SQLite in the lab.
        tracking_uri: MLflow; None is SQLite in the lab.
        runner: "ray", or "local" to run in this process for debugging.
        workers: evaluations at the same time.
        gpus_per_trial: GPUs each of them holds.
        ray_address: a running cluster; None starts Ray here.
        time_limit: seconds after which an evaluation that hangs is ended, and begun again; of a
            training, seconds a rung. None waits for ever.
        max_failures_in_a_row: of one reason; then the search stops.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    objective: str = "digits"
    objective_settings: dict[str, Any] = {}
    steps: Count = 8
    start: Path | dict[str, Any] = Path("rule of thumb")
    what: Literal["generation", "training", "joint", "both"] = "generation"
    rounds: Count = 3
    training_optimiser: str = "autonat-greedy"
    fine_tune: StrictBool = False
    mask_ratio_distribution: str = "beta"
    training_start: dict[str, Number] = {}
    training_bounds: dict[str, BoundSettings] = {}
    training_steps: Count = 1000
    training_budget: Count = 12_000
    fine_tune_from: str | None = None
    alternation: str | None = None
    optimisers: list[str] = Field(default_factory=_usual_optimiser, min_length=1)
    optimiser_settings: dict[str, dict[str, Any]] = {}
    bounds: dict[str, BoundSettings] = {}
    frozen: list[str] = []
    max_forward_passes: Count | None = None
    budget: Count = 50_000
    images_per_evaluation: Count = 500
    scheduler: Literal["asha"] | None = None
    seed: Seed = 0
    controls_first: StrictBool = False
    controls: list[str] = ["rule of thumb"]
    test_images: Count = 2000
    test_seeds: list[Seed] = Field([1, 2, 3], min_length=1)
    lab: Path = Path("autonat-lab")
    record_url: str | None = None
    tracking_uri: str | None = None
    runner: Literal["ray", "local"] = "ray"
    workers: Count = Field(default_factory=lambda: os.cpu_count() or 1)
    gpus_per_trial: Number = Field(0.0, ge=0)
    ray_address: str | None = None
    time_limit: Number | None = Field(None, gt=0)
    max_failures_in_a_row: Count = 5

    @model_validator(mode="after")
    def _known_names(self) -> SearchSettings:
        for what, names, known in (
            ("optimiser", self.optimisers, OPTIMISERS_OF[self.what]),
            ("optimiser", self.optimiser_settings, ALL_OPTIMISERS),
            ("training optimiser", [self.training_optimiser], TRAINING_OPTIMISERS),
            ("control", self.controls, tuple(CONTROLS)),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
        for what in ("optimisers", "test_seeds", "frozen", "controls"):
            values = getattr(self, what)
            if len(set(values)) < len(values):
                twice = next(value for value in values if values.count(value) > 1)
                raise ValueError(f"{what} = {shown(values)} names {shown(twice)} twice")
        return self

    @model_validator(mode="after")
    def _optimisers_take_them(self) -> SearchSettings:
        """A setting that an optimiser does not have is refused where it is made."""
        trained = [self.training_optimiser] if self.what == "both" else []
        for name, values in self.optimiser_settings.items():
            if name not in (*self.optimisers, *trained):
                raise ValueError(f"optimiser_settings: {name} is not an optimiser of this search")
            known = {key: values[key] for key in values if key in default_settings(name)}
            typed_settings(f"optimiser {name}", optimiser_class(name), known)
        return self

    @model_validator(mode="after")
    def _only_what_applies(self) -> SearchSettings:
        """What a search would not look at is not what somebody meant."""
        trains = self.what != "generation"
        for name, applies in (
            ("controls_first", self.what == "generation"),
            *((name, trains) for name in TRAINING_FIELDS),
            *(
                (name, self.what == "both")
                for name in ("rounds", "training_optimiser", "fine_tune")
            ),
        ):
            value, usual = getattr(self, name), type(self).model_fields[name].get_default()
            if not applies and value != usual:
                raise ValueError(f"{name} = {value!r} does not apply to what = {self.what}")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> SearchSettings:
        length = 0 if self.name is None else len(self.name)
        if length > LONGEST_NAME and self.alternation is None:  # whose name was looked at
            raise ValueError(f"name = {self.name!r}: {length} letters, at most {LONGEST_NAME}")
        if self.name is not None and not re.fullmatch(NAME, self.name):
            raise ValueError(
                f"name = {shown(self.name)} is no name of a search: it may hold the letters A-Z "
                "and a-z, digits, '.', '_' and '-', and begins with a letter or a digit"
            )
        return self

    @model_validator(mode="after")
    def _a_worker_can_be_ended(self) -> SearchSettings:
        if self.time_limit is not None and self.runner != "ray":
            raise ValueError("time_limit ends Ray's workers: the runner must be ray")
        return self

    @model_validator(mode="after")
    def _one_sampler_for_asha(self) -> SearchSettings:
        if self.scheduler is None:
            return self
        if self.runner != "ray":
            raise ValueError("scheduler asha is Ray's: the runner must be ray")
        names, able = self.optimisers, tuple(SAMPLERS)
        if self.what in ("training", "both"):  # an alternation stops trainings alone
            able = TRAINING_OPTIMISERS
        if self.what == "both":
            names = [self.training_optimiser]
        if len(names) > 1 or names[0] not in able:
            raise ValueError(
                f"scheduler asha stops trials of one of {', '.join(able)} against each other, "
                f"not of {', '.join(names)}"
            )
        return self

    def rungs(self) -> tuple[int, ...] | None:
        """Growing n, or training steps, of an evaluation, or None without a scheduler.

        Raises:
            ValueError: trainings too short for three rungs.
        """
        if self.scheduler is None:
            return None
        whole = self.images_per_evaluation if self.what == "generation" else self.training_steps
        rungs = (-(-whole // 4), -(-whole // 2), whole)
        if len(set(rungs)) < len(rungs):
            name = "images_per_evaluation" if self.what == "generation" else "training_steps"
            raise ValueError(f"{name} = {whole}: no rung lies inside so little")
        return rungs

    def space(self) -> SearchSpace:
        """What is searched.

        Raises:
            ValueError: bounds or a start that are not valid.
        """
        if self.what == "generation":
            return self.generation_space()
        if self.what == "training":
            return self._training_space()
        return JointSpace(self._training_space(), self.generation_space())

    def generation_space(self) -> Space:
        """The space of generation strategies; its start is in force where they are not searched.

        Raises:
            ValueError: bounds or a start that are not valid.
        """
        if isinstance(self.start, dict):
            start = GenerationStrategy.from_json(self.start).with_steps(self.steps)
        elif str(self.start) in CONTROLS:
            start = CONTROLS[str(self.start)](self.steps)
        else:  # a record that was made before settings stood alone
            start = StrategyFile.read(self.start).generation.with_steps(self.steps)
        return Space(start, _bounds(self.bounds), self.frozen, self.max_forward_passes)

    def _training_space(self) -> TrainingSpace:
        family = self.mask_ratio_distribution
        values = {**distribution(family).start, **self.training_start}
        start = TrainingStrategy(family, values)
        generation = self.generation_space().start
        return TrainingSpace(start, generation, _bounds(self.training_bounds))

    def budget_of_one(self) -> Budget | TrainingBudget:
        """What each optimiser may spend.

        Raises:
            ValueError: less than one evaluation.
        """
        n = self.images_per_evaluation
        if self.what == "generation":
            return Budget(self.budget, n)
        return TrainingBudget(self.training_budget, self.training_steps, n)

    def completed(self) -> SearchSettings:
        """With all settings of the optimisers: those not given are their defaults, except that
        there are always enough probes in flight for the workers. A search that is resumed keeps
        them, whatever its workers are then."""
        complete = {}
        trained = [self.training_optimiser] if self.what == "both" else []
        for optimiser in (*self.optimisers, *trained):
            settings = default_settings(optimiser)
            if "max_in_flight" in settings:
                settings["max_in_flight"] = max(settings["max_in_flight"], 2 * self.workers)
            complete[optimiser] = settings | self.optimiser_settings.get(optimiser, {})
        return self.model_copy(update={"optimiser_settings": complete})

    def problem(self) -> dict[str, Any]:
        """What is searched and how, as JSON: all that may not change when a study is resumed.
        Where it runs may. LATER fields that are not used are left out, so that what was searched
        before there were any is the same problem under the same derived name."""
        usual = {name: SearchSettings.model_fields[name].get_default() for name in LATER}
        unused = {name for name, value in usual.items() if getattr(self, name) == value}
        return self.model_dump(mode="json", exclude=WHERE_IT_RUNS | unused)

    def full_name(self) -> str:
        """The search's name, derived from what is searched where it is not given."""
        if self.name is not None:
            return self.name
        text = json.dumps(self.problem(), sort_keys=True)
        short = re.sub(r"[^a-z0-9._-]+", "-", self.objective.rpartition(":")[2].lower())
        short = short.strip("._-")[: LONGEST_NAME // 2] or "search"
        return f"{short}-T{self.steps}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


WHERE_IT_RUNS = {
    "name",
    "lab",
    "record_url",
    "tracking_uri",
    "runner",
    "workers",
    "gpus_per_trial",
    "ray_address",
    "time_limit",
    "max_failures_in_a_row",
}

LATER = {"controls_first"}
"""Settings that the first records do not have."""


def _bounds(given: dict[str, BoundSettings]) -> dict[str, Bound]:
    return {name: Bound(b.low, b.high, b.log) for name, b in given.items()}


def standing_alone(content: dict[str, Any]) -> dict[str, Any]:
    """Settings that mean the same in any folder: of a strategy file to start from, what it holds;
    paths of the objective absolute.

    Raises:
        ValueError: the strategy file cannot be read, or the objective does not import.
    """
    alone = dict(content)
    start = content.get("start")
    if isinstance(start, (str, Path)) and str(start) not in CONTROLS:
        alone["start"] = StrategyFile.read(Path(start)).generation.to_json()
    settings = content.get("objective_settings")
    name = content.get("objective", SearchSettings.model_fields["objective"].get_default())
    if isinstance(settings, dict) and settings and isinstance(name, str):
        alone["objective_settings"] = with_absolute_paths(OBJECTIVES.load(name), settings)
    return alone


def read_settings(values: dict[str, Any], study_file: Path | None = None) -> SearchSettings:
    """Settings from a YAML study file, or the preset of its name, with `values` over it; they
    stand alone.

    What fields hold by name is laid over the file's one by one.

    Raises:
        ValueError: the file cannot be read, or a value is not valid; the field is named.
    """
    content = {} if study_file is None else read_study_file(study_file)
    return validated(standing_alone(laid_over(content, values)))


def validated(content: dict[str, Any]) -> SearchSettings:
    """Settings as they are said.

    Raises:
        ValueError: a value is not valid; the field is named.
    """
    try:
        return SearchSettings(**content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            what = f"unknown; known: {', '.join(SearchSettings.model_fields)}"
        raise ValueError(
            f"{where}: {what} (got {shown(first['input'])})" if where else what
        ) from None
