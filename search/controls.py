"""Controls: strategies that need no search. A search is worthwhile only if it beats all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import numpy as np

from search.progress import Value
from search.strategy import GenerationStrategy

RULE_OF_THUMB = "rule of thumb"
"""The name of the control that is MaskGIT's strategy."""
MORE_NOISE = "more remask noise"
"""The name of the control that is often the best one."""
REAL_IMAGES, CONSTANT_IMAGE = "real images", "constant image"
"""Names of the anchors: reference values shown beside results, which need no generator."""
TWICE_THE_STEPS = "twice the steps"
"""The name of the control that is MaskGIT's strategy at twice the T of a search."""
START = "start"
"""The name of the strategy that a search starts from."""


def one_step(steps: int) -> GenerationStrategy:
    """Sample all tokens at once and independently: T = 1 without guidance, whatever `steps` is."""
    return GenerationStrategy((), (), (1.0,), (0.0,))


def random_order(steps: int) -> GenerationStrategy:
    """Keep as many tokens as the rule of thumb, but chosen purely at random; no guidance."""
    return dataclasses.replace(
        GenerationStrategy.maskgit(steps),
        remask_temperature=(1e6,) * (steps - 1),
        guidance_scale=(0.0,) * steps,
    )


def more_remask_noise(steps: int) -> GenerationStrategy:
    """The rule of thumb with remask temperatures falling from 10, cooler sampling, no guidance."""
    return dataclasses.replace(
        GenerationStrategy.maskgit(steps),
        remask_temperature=tuple(10 * (1 - np.linspace(0, 1, steps + 1))[:-2]),
        sampling_temperature=(0.9,) * steps,
        guidance_scale=(0.0,) * steps,
    )


def twice_the_steps(steps: int) -> GenerationStrategy:
    """The rule of thumb with 2 T steps: what twice the cost buys without any search."""
    return GenerationStrategy.maskgit(2 * steps)


PUBLISHED = GenerationStrategy(
    mask_ratio=(0.95316, 0.87954, 0.79402, 0.746, 0.62498, 0.40732, 0.26066),
    remask_temperature=(2.4049, 2.4776, 1.1917, 0.7685, 1.0673, 0.9354, 0.7844),
    sampling_temperature=(2.8999, 1.8673, 1.1444, 1.3796, 1.47, 1.3761, 1.7082, 0.7133),
    # In the public search the first three are at its lower bound of 1e-4, which means no guidance.
    guidance_scale=(0.0, 0.0, 0.0, 0.9151, 1.616, 1.1946, 1.3832, 1.2268),
)
"""The strategy that AutoNAT found for AutoNAT-L on ImageNet-256 at T = 8. Its numbers are rounded
as far as no count of masked tokens changes."""


def published(steps: int) -> GenerationStrategy:
    """AutoNAT's published strategy, interpolated to T steps."""
    return PUBLISHED.with_steps(steps)


CONTROLS: Mapping[str, Callable[[int], GenerationStrategy]] = {
    RULE_OF_THUMB: GenerationStrategy.maskgit,
    "one step": one_step,
    "random order": random_order,
    MORE_NOISE: more_remask_noise,
    "published": published,
    TWICE_THE_STEPS: twice_the_steps,
}
"""The controls by name: each is a function from T to a strategy."""
USUAL_CONTROLS = (RULE_OF_THUMB, MORE_NOISE)
"""The controls of a search that names none: the one that everybody uses, and the usual rival."""
RIVALS = (*(name for name in CONTROLS if name != TWICE_THE_STEPS), START)
"""The controls of at most T steps. The best of them is the best control, which a search at T should
beat; one of more steps costs more."""


BASELINES = (RULE_OF_THUMB, START)
"""The names of what a search starts from."""


class Tested(Protocol):
    """The result of a final test of a method or a control."""

    @property
    def method(self) -> str:
        """The name of the method or control."""

    @property
    def searched(self) -> bool:
        """Whether a search found the strategy."""

    @property
    def value(self) -> float:
        """The value of the final test; NaN if there is none."""


T = TypeVar("T", bound=Tested)


def best_control(results: Iterable[T]) -> T | None:
    """Return the lowest control of at most T steps, or None if none has a number."""
    return _lowest(r for r in results if not r.searched and r.method in RIVALS)


def best_searched(results: Iterable[T]) -> T | None:
    """Return the search with the lowest final test, or None if no search has a number."""
    return _lowest(result for result in results if result.searched)


def ranked(results: Iterable[T]) -> list[T]:
    """Return the results by value, the lowest first; those without a number come last."""
    return sorted(results, key=lambda result: or_last(result.value))


def or_last(value: float) -> float:
    """Return what a value is sorted by: without a number (NaN) it comes last."""
    return math.inf if math.isnan(value) else value


def start_and_best(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the rule of thumb (or the start) and, if it is another one, the best control.

    Args:
        values: of controls, by name, all of them numbers.
    """
    start = [name for name in BASELINES if name in values][:1]
    best = [min(values, key=lambda name: values[name].value)] if values else []
    return {name: values[name] for name in dict.fromkeys([*start, *best])}


def _lowest(results: Iterable[T]) -> T | None:
    finite = [result for result in results if math.isfinite(result.value)]
    return min(finite, key=lambda result: result.value, default=None)
