"""The protocol of every optimiser: `ask` for a probe, `tell` its result.

An optimiser is deterministic given its seed and what it was told about each probe; neither the
order in which results arrive nor the number of workers changes what it asks. A study is therefore
resumed by replay: a fresh optimiser is asked again and told what the record holds, and so reaches
the state of the old one.

docs/extending/spsa.py is an optimiser in one file, and docs/extending.md explains it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from search.measurement import Failure, Measurement
from search.seeds import derived_seed
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

FIRST_SEARCH_SEED = 2**31
"""The smallest evaluation seed of a search. Smaller seeds belong to final tests and to people, so
that a final test never uses a seed that a search has seen."""


RETEST = "retest"
"""The role of probes that measure the best few strategies again on fresh seeds. If an optimiser
asks such probes, its result is the strategy with the lowest mean among those of their last step."""


class Signal(enum.Enum):
    """The answers of `ask` other than a probe."""

    WAIT = "wait"
    DONE = "done"


WAIT = Signal.WAIT
"""No probe can be asked before more results are told. Never answered while none is in flight."""
DONE = Signal.DONE
"""No more probes will be asked; results of probes in flight may still be told."""


@dataclass(frozen=True)
class Training:
    """How a model is trained before it is measured.

    Attributes:
        strategy: the distribution of the mask ratios seen in training.
        steps: the number of training steps, >= 1.
        seed: the seed of the initial weights, the batches and the masks.
    """

    strategy: TrainingStrategy
    steps: int
    seed: int


class Evaluated(NamedTuple):
    """What a model learns of one evaluation: a strategy, its value, and the seed it had."""

    strategy: GenerationStrategy
    value: float
    seed: int


@dataclass(frozen=True)
class Probe:
    """One evaluation that an optimiser asks for.

    Attributes:
        number: 0, 1, 2, … in the order of asking; identifies the probe within its study.
        strategy: the strategy to measure.
        images: n, how many images to generate.
        seed: the seed of the evaluation, >= FIRST_SEARCH_SEED.
        step: the optimiser's own step (a gradient step, say), from 0.
        role: the purpose of the probe within its step, as a word: "start", "base", "mask_ratio_3".
        training: how the model is trained for this evaluation; None if the model is given.
        gradient: whether the gradient of the metric is asked for, too (see search.gradient).
        metric: the name of the metric to measure in; None for that of the objective.
    """

    number: int
    strategy: GenerationStrategy
    images: int
    seed: int
    step: int
    role: str
    training: Training | None = None
    gradient: bool = False
    metric: str | None = None


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        images: the number of images generated in all.
        images_per_evaluation: n, the number of images of one evaluation.

    Raises:
        ValueError: a number is not positive, or the budget is too small for one evaluation.
    """

    images: int
    images_per_evaluation: int

    def __post_init__(self) -> None:
        if self.images_per_evaluation < 1:
            raise ValueError(
                f"images_per_evaluation = {self.images_per_evaluation} is not positive"
            )
        if self.evaluations < 1:
            raise ValueError(
                f"budget = {self.images} images is less than one evaluation of "
                f"{self.images_per_evaluation} images"
            )

    @property
    def evaluations(self) -> int:
        """The number of evaluations that the budget pays for."""
        return self.images // self.images_per_evaluation

    def training(self, strategy: TrainingStrategy | None, seed: int) -> Training | None:
        """Return None, because the model is given."""
        return None


@dataclass(frozen=True)
class TrainingBudget:
    """What a search of training strategies may spend.

    Attributes:
        training_steps: the number of training steps in all.
        training_steps_per_evaluation: how many steps the model of each evaluation is trained.
        images_per_evaluation: n, the number of images that measure each trained model.

    Raises:
        ValueError: a number is not positive, or the budget is too small for one evaluation.
    """

    training_steps: int
    training_steps_per_evaluation: int
    images_per_evaluation: int

    def __post_init__(self) -> None:
        for name in ("training_steps_per_evaluation", "images_per_evaluation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not positive")
        if self.evaluations < 1:
            raise ValueError(
                f"training_budget = {self.training_steps} steps is less than one training of "
                f"{self.training_steps_per_evaluation} steps"
            )

    @property
    def evaluations(self) -> int:
        """The number of trainings that the budget pays for."""
        return self.training_steps // self.training_steps_per_evaluation

    def training(self, strategy: TrainingStrategy | None, seed: int) -> Training | None:
        """Return the training of a probe of that strategy; None without a strategy."""
        if strategy is None:
            return None
        return Training(strategy, self.training_steps_per_evaluation, seed)


class Optimiser(Protocol):
    """Proposes strategies and learns from their measurements.

    docs/extending/spsa.py is a runnable example; `search.testing.check_optimiser` checks whether a
    class keeps the rules.
    """

    def ask(self) -> Probe | Signal:
        """Return the next probe, or WAIT, or DONE."""

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """Take the result of a probe. A measurement whose value is not finite counts as a failure.

        Raises:
            ValueError: the probe was not asked for, or was told already.
        """


@runtime_checkable
class Converges(Protocol):
    """An optimiser that says when it has converged."""

    @property
    def converged(self) -> int | None:
        """After how many evaluations it converged; None before that. Never changes once set."""


def evaluation_seed(seed: int, number: int) -> int:
    """Derive the seed of a search's evaluation, in [FIRST_SEARCH_SEED, 2**32).

    Args:
        seed: the seed of the search.
        number: a count; evaluations with the same number share their noise.
    """
    # Only the first 32 of the 56 bits are used, so that old searches can be resumed.
    drawn = derived_seed("evaluation", seed, number) >> 24
    return FIRST_SEARCH_SEED + drawn % FIRST_SEARCH_SEED
