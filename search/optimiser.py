"""The one face of every optimiser: ask for a probe, tell what came back.

An optimiser is deterministic given its seed and what it was told about each probe; neither the
order in which results arrive nor the number of workers changes what it asks. So a study is
resumed by replay: a fresh optimiser is asked and told again what the record holds, and ends up
where the old one was.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from search.measurement import Failure, Measurement
from search.strategy import GenerationStrategy

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
class Probe:
    """One evaluation that an optimiser asks for.

    Attributes:
        number: 0, 1, 2, … in the order of asking; names the probe within its study.
        strategy: what to measure.
        images: n, how many images to generate.
        seed: the evaluation's seed, >= FIRST_SEARCH_SEED.
        step: the optimiser's own step (a gradient step, say), from 0.
        role: what the probe is within its step, as a word: "start", "base", "mask_ratio_3" …
    """

    number: int
    strategy: GenerationStrategy
    images: int
    seed: int
    step: int
    role: str


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
    digest = hashlib.sha256(f"evaluation/{seed}/{number}".encode()).digest()
    return FIRST_SEARCH_SEED + int.from_bytes(digest[:4], "big") % FIRST_SEARCH_SEED
