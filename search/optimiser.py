"""The one face of every optimiser: ask for a probe, tell what came back.

An optimiser is deterministic given its seed and what it was told about each probe; neither the
order in which results arrive nor the number of workers changes what it asks. So a study is
resumed by replay: a fresh optimiser is asked and told again what the record holds, and ends up
where the old one was.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from search.measurement import Failure, Measurement
from search.seeds import derived_seed
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

FIRST_SEARCH_SEED = 2**31
"""Evaluation seeds below it belong to final tests and people, those from it on to searches: the
two never meet."""


RETEST = "retest"
"""The role of probes that measure the best few again on fresh seeds. An optimiser that asks them
has its result chosen by them: the lowest mean among the strategies of their last step."""


class Signal(enum.Enum):
    """Answers of `ask` other than a probe."""

    WAIT = "wait"
    DONE = "done"


WAIT = Signal.WAIT
"""Nothing to ask before more results are told; never answered while nothing is in flight."""
DONE = Signal.DONE
"""Nothing will be asked any more; results of probes in flight may still be told."""


@dataclass(frozen=True)
class Training:
    """How a model is trained to be measured.

    Attributes:
        strategy: the mask ratios that it sees.
        steps: of the training, >= 1.
        seed: of its weights, batches and masks.
    """

    strategy: TrainingStrategy
    steps: int
    seed: int


@dataclass(frozen=True)
class Probe:
    """One evaluation that an optimiser asks for.

    Attributes:
        number: 0, 1, 2, … in the order of asking; names the probe within its study.
        strategy: what to measure.
        images: n, how many images to generate.
        seed: the evaluation's seed, >= FIRST_SEARCH_SEED.
        step: the optimiser's own step (a gradient step, say), from 0.
        role: what the probe is within its step, as a word: "start", "base", "mask_ratio_3" …
        training: of the model, where it is trained for this evaluation; None where it is given.
    """

    number: int
    strategy: GenerationStrategy
    images: int
    seed: int
    step: int
    role: str
    training: Training | None = None


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        images: images generated in all.
        images_per_evaluation: n of one evaluation.

    Raises:
        ValueError: not positive, or not enough for one evaluation.
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
        """Evaluations that the budget pays for."""
        return self.images // self.images_per_evaluation

    def training(self, strategy: TrainingStrategy | None, seed: int) -> Training | None:
        """None: the model is given."""
        return None


@dataclass(frozen=True)
class TrainingBudget:
    """What a search of training strategies may spend.

    Attributes:
        training_steps: in all.
        training_steps_per_evaluation: of the model that is trained for each.
        images_per_evaluation: n of the FID that it is judged by.

    Raises:
        ValueError: not positive, or not enough for one evaluation.
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
        """Trainings that the budget pays for."""
        return self.training_steps // self.training_steps_per_evaluation

    def training(self, strategy: TrainingStrategy | None, seed: int) -> Training | None:
        """What a probe of that strategy trains; None without one."""
        if strategy is None:
            return None
        return Training(strategy, self.training_steps_per_evaluation, seed)


class Optimiser(Protocol):
    """Proposes strategies and learns from their measurements."""

    def ask(self) -> Probe | Signal:
        """The next probe, or WAIT, or DONE."""

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """What came of a probe. A measurement whose FID is not finite counts as a failure.

        Raises:
            ValueError: the probe was not asked for, or was told already.
        """


@runtime_checkable
class Converges(Protocol):
    """An optimiser that says when it has converged."""

    @property
    def converged(self) -> int | None:
        """After how many evaluations; None while more of them may find more. Once said, kept."""


def evaluation_seed(seed: int, number: int) -> int:
    """The seed of a search's evaluation, in [FIRST_SEARCH_SEED, 2**32)."""
    # The first 32 of its 56 bits, as seeds were drawn before.
    drawn = derived_seed("evaluation", seed, number) >> 24
    return FIRST_SEARCH_SEED + drawn % FIRST_SEARCH_SEED
