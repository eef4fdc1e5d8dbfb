"""The settings of a search, declared once, in groups of those that belong together.

Each setting has one name. It is the key in a YAML study file and in the record and, with dashes for
underscores, the flag. The flags, their help and their defaults are made from these declarations
(`trials.cli.setting_flags`), and the kinds of searches combine the groups (`settings`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from search.choices import CHOICES
from search.controls import CONTROLS, RULE_OF_THUMB, START, USUAL_CONTROLS
from search.optimiser import FIRST_SEARCH_SEED
from search.reading import LARGEST_INTEGER
from search.registry import OPTIMISERS, OPTIONAL, TRAINING_OPTIMISERS
from search.schedules import STANDARD
from trials.lab import DEFAULT_LAB, VARIABLES, Lab

What = Literal["generation", "training", "joint", "both"]

# Strict: neither a text, true, 4.7 nor 1.0 is accepted as a whole number.
Seed = Annotated[int, Field(strict=True, ge=0, lt=FIRST_SEARCH_SEED)]
Count = Annotated[int, Field(strict=True, gt=0, le=LARGEST_INTEGER)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


@dataclass(frozen=True)
class Flag:
    """What the help of a flag says beyond the type and the default of its setting.

    Attributes:
        metavar: the placeholder for the value.
        default: the default in words, where the value itself does not explain it.
        variable: the environment variable that gives the setting if neither flag nor file does.
        short: a second, shorter name of the flag.
        hidden: whether the setting has no flag.
        listed: whether the flag takes several numbers, for a series of searches.
    """

    metavar: str | None = None
    default: str | None = None
    variable: str | None = None
    short: str | None = None
    hidden: bool = False
    listed: bool = False


class Group(BaseModel):
    """Settings that belong together, under one heading of the help."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    heading: ClassVar[str]


class BoundSettings(BaseModel):
    """The bounds of a schedule, or of a parameter of a training strategy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: Number
    high: Number
    log: StrictBool = False


class SeriesOf(BaseModel):
    """A series of searches, one for each T, that learn from those before (see `series`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    steps: tuple[Count, ...]


class Searched(Group):
    """The problem that a search solves."""

    heading = "What is searched"

    what: Annotated[What, Flag("KIND")] = Field(
        "generation",
        description="generation: the strategies of a given model. training: how the model is "
        "trained, with a model trained for each evaluation. joint: both at once. both: the two in "
        "turn, in rounds.",
    )
    name: Annotated[str | None, Flag("NAME", "derived from what is searched")] = Field(
        None, description="Name of the search, by which other commands refer to it."
    )
    objective: Annotated[str, Flag("NAME")] = Field(
        "digits",
        description="What measures a strategy: a name that `autonat objectives` lists, or "
        "package.module:Class.",
    )
    objective_settings: Annotated[dict[str, Any], Flag("SETTING", short="--set")] = Field(
        {},
        description="A setting of the objective: NAME=VALUE, such as width=64. Repeatable.",
    )
    steps: Annotated[Count, Flag("T,…", listed=True)] = Field(
        8,
        description="T, the number of decoding steps. With several, each has a search, which "
        "learns from those before.",
    )
    start: Annotated[Path | dict[str, Any], Flag("FILE")] = Field(
        Path(RULE_OF_THUMB),
        description="The generation strategy to start from: a strategy file, a preset (see "
        "`autonat zoo`), or the name of a control. Its schedules are interpolated to T steps.",
    )
    bounds: Annotated[dict[str, BoundSettings], Flag("BOUNDS")] = Field(
        {},
        description="Bounds of a schedule, in place of the default ones: SCHEDULE=LOW:HIGH, or "
        "SCHEDULE=LOW:HIGH:log for a log scale. Repeatable.",
    )
    frozen: Annotated[list[str], Flag("NAME,…")] = Field(
        [],
        description="Schedules that are not searched and keep the values of the start: any of "
        f"{', '.join(STANDARD)}.",
    )
    choices: Annotated[dict[str, list[str]], Flag("CHOICE")] = Field(
        {},
        description="A choice of the strategy: NAME=VALUE fixes it, such as token_order=halton; "
        "NAME=VALUE,VALUE searches among the values. Repeatable. Choices: "
        + "; ".join(f"{choice.name}: {', '.join(choice.values)}" for choice in CHOICES.values())
        + ".",
    )
    max_forward_passes: Annotated[Count | None, Flag("COUNT", "no limit")] = Field(
        None, description="Maximum number of forward passes of a strategy, for each image."
    )
    alternation: Annotated[str | None, Flag(hidden=True)] = Field(
        None, description="Name of the alternation that this search is half a round of."
    )


class Methods(Group):
    """The optimisers that propose strategies, and how they work."""

    heading = "How it is searched"

    optimisers: Annotated[
        list[str], Flag("NAME,…", "coarse-to-fine; training: autonat-greedy; joint: tpe")
    ] = Field(
        default_factory=lambda settings: [DEFAULT_OPTIMISERS[settings.get("what", "generation")]],
        min_length=1,
        description=f"One or more of {', '.join(OPTIMISERS)}; with --what training, of "
        f"{', '.join(TRAINING_OPTIMISERS)}. With an extra installed, also "
        f"{', '.join(f'{name} (autonat[{extra}])' for name, extra in OPTIONAL.items())}.",
    )
    optimiser_settings: Annotated[dict[str, dict[str, Any]], Flag("SETTING")] = Field(
        {},
        description="A setting of an optimiser: OPTIMISER.NAME=VALUE, such as "
        "tpe.max_in_flight=4. Repeatable.",
    )
    scheduler: Annotated[Literal["asha"] | None, Flag("asha", "none")] = Field(
        None,
        description="asha: measure with a quarter, half and all of the images (or training "
        "steps), and let Ray stop the worse half of the evaluations at the first two.",
    )
    seed: Annotated[Seed, Flag("SEED")] = Field(0, description="Seed of the optimisers.")


class Budgets(Group):
    """What each optimiser may spend."""

    heading = "Budget"

    budget: Annotated[Count, Flag("IMAGES")] = Field(
        50_000,
        description="Images that each optimiser may generate (with --what both, in each round).",
    )
    images_per_evaluation: Annotated[Count, Flag("IMAGES")] = Field(
        500, description="Images generated to measure one strategy."
    )


class Tested(Group):
    """The final test of winners and controls, on seeds that no search used."""

    heading = "Final test"

    controls: Annotated[list[str], Flag("NAME,…")] = Field(
        [*USUAL_CONTROLS],
        description="Strategies that need no search, tested together with the winners: any of "
        f"{', '.join(CONTROLS)}; or {START}, the strategy that the search starts from. In a study "
        "file, [] tests none.",
    )
    test_images: Annotated[Count, Flag("IMAGES")] = Field(
        2000, description="Images generated for each seed."
    )
    test_metric: Annotated[str | None, Flag("METRIC", "that of the search")] = Field(
        None,
        description="Metric of the final test: fid reports FID after a search with --set "
        "metric=fid-leading, which needs fewer images.",
    )
    test_seeds: Annotated[list[Seed], Flag("SEED,…")] = Field(
        [1, 2, 3], min_length=1, description="Seeds, all below 2^31; searches use larger ones."
    )


class Beginning(Group):
    """What a search of generation strategies measures first, and what it knows already."""

    heading = Methods.heading

    controls_first: StrictBool = Field(
        False,
        description="Let every optimiser measure the start and all controls first, as "
        "coarse-to-fine always does. Optimisers that need a starting point use the best of them.",
    )
    learn_from: Annotated[list[str], Flag("NAME,…")] = Field(
        [],
        description="Finished searches of the same objective, schedules and bounds, usually at "
        "other T: coarse-to-fine learns from their evaluations as from its own.",
    )
    series: Annotated[SeriesOf | None, Flag(hidden=True)] = Field(
        None, description="The series that this search belongs to."
    )


class Trained(Group):
    """How the models of a training search are trained."""

    heading = "Training (with --what training, joint or both)"

    mask_ratio_distribution: Annotated[str, Flag("NAME")] = Field(
        "beta", description="The distribution of mask ratios whose parameters are searched."
    )
    training_start: Annotated[dict[str, Number], Flag("SETTING")] = Field(
        {},
        description="The starting value of a parameter, in place of the default one: "
        "PARAMETER=VALUE. Repeatable.",
    )
    training_bounds: Annotated[dict[str, BoundSettings], Flag("BOUNDS")] = Field(
        {},
        description="Bounds of a parameter, in place of the default ones: PARAMETER=LOW:HIGH, or "
        "PARAMETER=LOW:HIGH:log for a log scale. Repeatable.",
    )
    training_steps: Annotated[Count, Flag("STEPS")] = Field(
        1000, description="Training steps of the model of one evaluation."
    )
    training_budget: Annotated[Count, Flag("STEPS")] = Field(
        12_000,
        description="Training steps that each optimiser may spend in total (with --what both, in "
        "each round).",
    )
    fine_tune_from: Annotated[str | None, Flag("sha256:…", "train from scratch")] = Field(
        None, description="Hash of the stored weights that every training starts from."
    )


class Rounds(Group):
    """The settings that only an alternation has."""

    heading = "Rounds (with --what both)"

    rounds: Annotated[Count, Flag("COUNT")] = Field(3, description="Maximum number of rounds.")
    training_optimiser: Annotated[str, Flag("NAME")] = Field(
        "autonat-greedy",
        description="Optimiser of the training searches; --optimisers names that of the "
        "generation searches.",
    )
    fine_tune: StrictBool = Field(
        False, description="Let each round start its trainings from the weights of the last round."
    )


class WhereItRuns(Group):
    """Where a search runs. These settings may change when it is resumed."""

    heading = "Where it runs"

    lab: Annotated[Path, Flag("FOLDER", variable=VARIABLES["lab"])] = Field(
        DEFAULT_LAB, description="The lab: the folder that holds all files."
    )
    record_url: Annotated[str | None, Flag("URL", "SQLite in the lab", VARIABLES["record_url"])] = (
        Field(None, description="The Optuna storage of the record.")
    )
    tracking_uri: Annotated[
        str | None, Flag("URI", "SQLite in the lab", VARIABLES["tracking_uri"])
    ] = Field(None, description="The MLflow store of the runs.")
    runner: Annotated[Literal["ray", "local"], Flag("ray|local")] = Field(
        "ray",
        description="ray measures in parallel; local measures in this process, for debugging.",
    )
    workers: Annotated[Count, Flag("COUNT", "the cores of this machine")] = Field(
        default_factory=lambda: os.cpu_count() or 1, description="Evaluations at the same time."
    )
    gpus_per_trial: Annotated[Number, Flag("GPUS")] = Field(
        0.0, ge=0, description="GPUs that each evaluation uses; a fraction shares a GPU."
    )
    evaluations_together: Annotated[Count, Flag("COUNT")] = Field(
        1,
        description="Evaluations that a worker measures at once, in the same forward passes, so "
        "that a small model fills a GPU.",
    )
    ray_address: Annotated[str | None, Flag("ADDRESS", "start Ray on this machine")] = Field(
        None, description="A running Ray cluster: auto, HOST:PORT or ray://HOST:10001."
    )
    time_limit: Annotated[Number | None, Flag("SECONDS", "none")] = Field(
        None,
        gt=0,
        description="Seconds after which an evaluation that hangs is killed and restarted; for a "
        "training, seconds between two rungs.",
    )
    max_failures_in_a_row: Annotated[Count, Flag("COUNT")] = Field(
        5, description="Number of failures in a row, for the same reason, that ends the search."
    )

    def open_lab(self) -> Lab:
        """The lab, whose folder is made if it is missing (see `Lab.open`)."""
        return Lab.open(self.lab, self.record_url, self.tracking_uri)

    @model_validator(mode="after")
    def _a_worker_can_be_ended(self) -> WhereItRuns:
        if self.time_limit is not None and self.runner != "ray":
            raise ValueError("time_limit: expected runner = ray, whose workers it ends, got local")
        return self


DEFAULT_OPTIMISERS: dict[What, str] = {
    "generation": "coarse-to-fine",
    "training": "autonat-greedy",
    "joint": "tpe",
    "both": "coarse-to-fine",
}

GROUPS = (Searched, Methods, Beginning, Budgets, Tested, Trained, Rounds, WhereItRuns)
"""All groups, in the order of the help."""
