"""The protocol of objectives, which measure strategies, and how they are loaded by name.

The name of an objective is that of a built-in one, one that a package registers under the entry
point group `autonat.objectives`, or `package.module:Class` for a class of your own.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from search.keywords import require_keywords
from search.measurement import Measurement
from search.plugins import Registry
from search.progress import Report
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import BUILT_IN, TrainingStrategy, distribution
from search.user_code import explained, is_ours
from trials.objectives.pictures import Films, Samples, ShowsClasses, ShowsRealImages
from trials.objectives.signatures import check_signatures
from trials.objectives.typed_settings import typed_settings

OBJECTIVES: Registry[Any] = Registry(
    "objective",
    {
        "digits": "trials.objectives.digits:DigitsObjective",
        "letters": "trials.objectives.letters.objective:LettersObjective",
        "images": "trials.objectives.images:ImagesObjective",
        "simulated": "trials.objectives.simulated:SimulatedObjective",
        "tabulated": "trials.objectives.tabulated:TabulatedObjective",
        "generator": "trials.objectives.generator_objective:NamedGeneratorObjective",
    },
)
"""The classes of objectives, by name."""


class Objective(Protocol):
    """Measures generation strategies on one generator.

    An objective is made from keyword settings, which must be JSON values and should be checked at
    once. After `prepare`, the instance is sent to the workers by pickle. It has to hold everything
    that they need, and to move itself to their device when it first measures.

    Further methods are optional: `prepare(lab, report)` is called once in the driver before
    anything is measured, to train, load or cache below the folder `lab`. `check(space, images)` is
    called before that and refuses what the objective cannot measure. `sample(strategy, images,
    seed)` returns uint8 images [n, H, W] or [n, H, W, 3] for reports; `class_grid`, `real_grid` and
    `film` (see trials.objectives.pictures) return images class by class, and how they form.
    `evaluate_growing(strategy, rungs, seed)` measures at growing n and generates only the images
    that each n adds. `evaluate_together(strategies, images, seeds)` measures several at once,
    and `evaluate_with_gradient(strategy, images, seed)` gives the gradient, too.
    `in_metric(metric)` returns the objective in another metric, for a final test.
    `anchors(images)` returns the values of real images and of a constant image. The attribute
    `heeds` names the choices and additional schedules of a strategy that the objective takes into
    account.

    docs/extending/steep.py is a runnable example, docs/extending/pictures.py one with the optional
    methods, and docs/extending/noise_scale.py one with `heeds`.
    """

    tokens: int
    """L, the tokens of an image; a strategy has at most L steps. It is known before `prepare`."""

    def describe(self) -> Mapping[str, Any]:
        """Describe what is measured, and how, as JSON values; called after `prepare`.

        Returns:
            Any of the keys dataset (a name), checkpoint (a hash), training (the JSON of a
            TrainingStrategy), protocol (the metric and how it is computed, see PROTOCOL_FIELDS)
            and flops (floating-point operations for each image: {"pass": of a forward pass,
            "decode": of turning tokens into pixels}).
        """

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """Generate images and measure them.

        The same strategy, n and seed on the same device give the same value.

        Args:
            strategy: generates the images.
            images: n, how many.
            seed: in [0, 2**32), from which all randomness derives.

        Raises:
            Exception: any error; the evaluation counts as failed, and the search continues.
        """


@runtime_checkable
class Prepares(Protocol):
    """An objective that has work to do before its first evaluation."""

    def prepare(self, lab: Path, report: Report) -> None:
        """Train, load or cache below the folder `lab`, reporting the progress."""


@runtime_checkable
class Checks(Protocol):
    """An objective that can measure only some searches."""

    def check(self, space: Space, images: int) -> None:
        """Refuse what the objective cannot measure; called before `prepare`.

        Raises:
            ValueError: it cannot measure the strategies of that space, or with so few images.
        """


@runtime_checkable
class Heeds(Protocol):
    """An objective that takes more of a strategy into account than its four standard schedules."""

    heeds: Collection[str]
    """Names of the choices and additional schedules (search.choices, search.schedules) that
    `evaluate` takes into account. A strategy with any other is refused, not measured without it."""


def require_heeded(objective: object, beyond: Mapping[str, str]) -> None:
    """Refuse a strategy with a choice or schedule that an objective would ignore.

    Args:
        objective: the objective that is to measure it.
        beyond: the choices and schedules beyond the standard ones, by name, each with a
            description in words (see `GenerationStrategy.extras`).

    Raises:
        ValueError: the `heeds` of the objective does not name one of them.
    """
    heeds = objective.heeds if isinstance(objective, Heeds) else ()
    for name, words in beyond.items():
        if name not in heeds:
            raise ValueError(
                f"{type(objective).__name__} cannot measure a strategy with {words}: its attribute "
                f"heeds does not name {name}"
            )


@runtime_checkable
class Grows(Protocol):
    """An objective that measures at growing n."""

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """Measure at each n of `rungs`, which grow.

        The images of a rung are kept for the next, and nothing is generated before the measurement
        is asked for, except what a GPU generates ahead. The last measurement is that of
        `evaluate`, up to rounding.
        """


@runtime_checkable
class MeasuresTogether(Protocol):
    """An objective that measures several strategies in less time than one after the other."""

    def evaluate_together(
        self, strategies: Sequence[GenerationStrategy], images: int, seeds: Sequence[int]
    ) -> Sequence[Measurement]:
        """The measurements of `evaluate`, up to rounding.

        If it raises an error, each strategy is measured by itself. The seconds of a measurement are
        its share of the time of all, so that they can be added.

        Args:
            strategies: generate the images.
            images: n, of each strategy.
            seeds: one for each strategy.
        """


@runtime_checkable
class MeasuresGradients(Protocol):
    """An objective that tells how the metric changes with the values of a strategy."""

    def check_gradients(self, space: Space, images: int) -> None:
        """Refuse searches in which there is no gradient; called before `prepare`.

        Raises:
            ValueError: its metric or a token order of that space has none, or with so few images.
        """

    def evaluate_with_gradient(
        self, strategy: GenerationStrategy, images: int, seed: int
    ) -> Measurement:
        """Measure the images of `evaluate`, with the gradient (see search.gradient).

        The gradient is None where it does not exist, as in a temperature of 0.
        """


@runtime_checkable
class HasMetrics(Protocol):
    """An objective that measures in any of several metrics, of which its setting `metric` names
    one."""

    def in_metric(self, metric: str) -> Objective:
        """The same objective in another metric, which shares everything that is loaded.

        Its `describe` says that metric. It is asked for before `prepare`, to be checked, and for
        each evaluation of a final test.

        Args:
            metric: its name.

        Raises:
            ValueError: the name is unknown, or the objective cannot measure in it.
        """


@runtime_checkable
class Anchors(Protocol):
    """An objective that knows reference values by which its measurements can be judged."""

    def anchors(self, images: int) -> Mapping[str, float]:
        """The reference values, in the same features and statistics as `evaluate`.

        They need no generator. They are asked for once in a search, in the driver.

        Returns:
            The value of REAL_IMAGES, `images` of them freshly drawn, below which no generator can
            be expected; and that of CONSTANT_IMAGE, the same image again and again, above which no
            generator should be. A value that is not known is left out.
        """


@dataclass(frozen=True)
class Trained:
    """A model after some of its training.

    Attributes:
        objective: measures the model.
        validation_loss: on images that it was not trained on, or None.
        seconds: of the whole training up to here.
        checkpoint: the hash of its weights, once they are stored; None before the last rung.
    """

    objective: Objective
    validation_loss: float | None
    seconds: float
    checkpoint: str | None


TRAINED_BY = {"mask_ratio_distribution", "training_steps", "training_seed"}
"""Settings of objectives that train, besides the parameters of the distribution."""


@runtime_checkable
class Trains(Protocol):
    """An objective whose model can be trained with any training strategy.

    Its settings include `checkpoint`, the hash of stored weights to measure, and TRAINED_BY with
    the parameters of a training strategy, so that other models can be trained in the same way.
    """

    tokens: int

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`. It is known without weights."""

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """Everything that decides the weights, except where they start and the steps; JSON
        values."""

    def train(
        self,
        strategy: TrainingStrategy,
        seed: int,
        rungs: tuple[int, ...],
        folder: Path,
        lab: Path,
        start: str | None,
    ) -> Iterator[Trained]:
        """Train, and yield the model at each number of steps in `rungs`, which grow.

        Args:
            strategy: the distribution of the mask ratios that the model sees.
            seed: of weights, batches and masks, in [0, 2**32).
            rungs: numbers of steps; the weights of the last go into the lab's store.
            folder: for checkpoints of the training; an existing one is resumed.
            lab: the folder of the lab with the store.
            start: the hash of stored weights to start from, or None.

        Raises:
            ValueError: the training diverged, or the stored weights are of another network.
        """

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Objective:
        """A copy of the objective that measures stored weights.

        Raises:
            ValueError: no weights of that hash are stored.
        """


OPTIONAL = (
    *(Prepares, Checks, Grows, MeasuresTogether, MeasuresGradients, HasMetrics, Anchors, Trains),
    *(Samples, ShowsClasses, ShowsRealImages, Films),
)
"""Protocols that an objective may implement besides `Objective`."""


def load_objective(name: str, settings: Mapping[str, Any]) -> Objective:
    """Make the objective of that name with these settings.

    Raises:
        ValueError: the name is unknown (the known ones are listed), the class cannot be imported,
            lacks a method or has one of another signature, or it does not have or refuses a
            setting.
    """
    made_by = OBJECTIVES.load(name)
    _require_methods(name, made_by)
    others = _parameters_of_training(made_by, settings)
    require_keywords(f"objective {name}", made_by, settings, others=others)
    values = typed_settings(f"objective {name}", made_by, settings)
    with explained(f"objective {name}, when it is made", made_by):
        objective = made_by(**values)
    return accepted(name, objective)


def _parameters_of_training(made_by: Any, settings: Mapping[str, Any]) -> set[str] | None:
    """The parameters of distributions of mask ratios, which our objectives take as settings if they
    train; None for others, whose further settings nobody knows.

    Those that belong to another distribution than the chosen one are refused by name later.
    """
    own = inspect.signature(made_by).parameters.get("mask_ratio_distribution")
    if own is None or not is_ours(made_by):
        return None
    chosen = distribution(settings.get(own.name, own.default))
    return {name for known in (*BUILT_IN.values(), chosen) for name in known.parameters}


def setting_lines(made_by: Any) -> list[str]:
    """The settings of a class of objectives, a line each, with their defaults as JSON."""
    lines = []
    for parameter in inspect.signature(made_by).parameters.values():
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            more = sorted(_parameters_of_training(made_by, {}) or ())
            lines += [f"{of_some} (of some distributions of mask ratios)" for of_some in more]
        elif parameter.default is parameter.empty:
            lines.append(f"{name} (needed)")
        else:
            lines.append(f"{name} = {json.dumps(parameter.default, default=str)}")
    return lines


def accepted(name: str, objective: Any) -> Objective:
    """Check that an instance is an objective, and return it.

    Args:
        name: of the objective, for errors.
        objective: the instance.

    Raises:
        ValueError: it lacks a method, has one of another signature, or its `tokens` is not a
            positive integer.
    """
    if isinstance(objective, type):
        raise ValueError(
            f"objective: expected an instance, got the class {objective.__name__}; give "
            f"{objective.__name__}(…)"
        )
    _require_methods(name, objective)
    tokens = getattr(objective, "tokens", None)
    if isinstance(tokens, bool) or not isinstance(tokens, Integral) or tokens < 1:
        raise ValueError(f"objective {name}: tokens = {tokens!r} is not a positive integer")
    protocols = (Objective, *(p for p in OPTIONAL if isinstance(objective, p)))
    check_signatures(name, objective, protocols)
    found: Objective = objective
    return found


def _require_methods(name: str, of: object) -> None:
    for method in ("evaluate", "describe"):
        if not callable(getattr(of, method, None)):
            raise lacks_method(name, method)


def lacks_method(name: str, method: str, why: str = "") -> ValueError:
    """The error of an objective without a method that is needed.

    Args:
        name: of the objective.
        method: that it lacks.
        why: ends the line: what needs the method.
    """
    return ValueError(f"objective {name} lacks the method {method}{why}")
