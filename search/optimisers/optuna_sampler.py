"""Makes an optimiser of any Optuna sampler.

The sampler has a study of its own in memory, separate from the study that the driver writes as the
record of the search. To make a parallel search repeatable, results reach the sampler with a fixed
delay: when it proposes probe k, it knows the results of probes 0 … k - max_in_flight and no others,
no matter which workers were faster.

A sampler may search curves in place of values (see search.curve_space). Few numbers do not describe
every strategy. A first strategy that they do not describe is measured as it is and kept from the
sampler, which would take its value for that of another strategy; the nearest strategy that they
describe is measured next, and the sampler learns its value.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from search.curve_space import CoordinatesName, CurveSpace, described_by
from search.dimensions import Dimension, SearchSpace
from search.first_strategies import best_of
from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import (
    DONE,
    WAIT,
    Budget,
    Probe,
    Signal,
    TrainingBudget,
    evaluation_seed,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

PASSES = "forward_passes"
ROUNDING = 1e-9
STANDARD_ERROR = "standard_error"
"""The user attribute of a sampler's trial that holds the standard error of its value, if the
objective gives one."""


class OptunaSampler:
    """Minimises the metric with an Optuna sampler, beginning at the space's start.

    Args:
        make_sampler: makes the sampler for a space and a seed.
        passes: whether to minimise the forward passes for each image as a second objective. They
            are then a parameter from T to the space's limit; to reach its value, the smallest
            guidance scales become the lowest value of their bounds, which counts as 0.
        space: the space to search; its bounds and scales become Optuna distributions.
        budget: the search ends when it is spent. What is saved by probes that were stopped early
            pays for further ones.
        seed: the seeds of the evaluations derive from it.
        first: strategies of the space to measure before the sampler proposes any. The sampler then
            knows all of them and starts from the best. By default only the space's start.
        tokens: L if it is known: mask ratios of curves then stand for whole tokens.
        max_in_flight: the largest number of probes in flight, >= 1, and the delay of results; it
            should be at least the number of workers.
        common_random_numbers: whether all evaluations share one seed, so that noise does not hide
            the differences between strategies; else each has its own.
        coordinates: the numbers that the sampler searches: "values", all free values; "coarse",
            level and slope of each schedule; "curves", all orders of each schedule.

    Raises:
        ValueError: max_in_flight < 1, `passes` in a space where they cannot fall, or curves in a
            space that has none.
    """

    def __init__(
        self,
        make_sampler: Callable[[SearchSpace, int], BaseSampler],
        passes: bool,
        space: SearchSpace,
        budget: Budget | TrainingBudget,
        seed: int,
        first: Sequence[GenerationStrategy] = (),
        tokens: int | None = None,
        *,
        max_in_flight: int = 4,
        common_random_numbers: bool = True,
        coordinates: CoordinatesName = "values",
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight = {max_in_flight} is not positive")
        self._space, self._budget, self._seed = space, budget, seed
        self._max_in_flight, self._common = max_in_flight, common_random_numbers
        self._make_sampler, self._first = make_sampler, first
        self._searched = described_by(coordinates, space, tokens)
        self._distributions: dict[str, BaseDistribution] = {**distributions(self._searched)}
        self._limited: Callable[[GenerationStrategy, int], GenerationStrategy] | None = None
        if passes:
            if not isinstance(space, Space):
                raise ValueError("forward passes can be searched only with generation strategies")
            steps, most = space.start.steps, space.max_forward_passes
            if not space.passes_can_fall:
                raise ValueError("forward passes can fall only if guidance_scale may reach 0")
            self._distributions[PASSES] = IntDistribution(steps, min(most or 2 * steps, 2 * steps))
            self._limited = space.limited
        directions = [StudyDirection.MINIMIZE] * (1 + passes)
        sampler = make_sampler(self._searched, seed)
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._begin_with([*first] or [space.starts[0]])
        self._trials: list[Trial | None] = []
        self._spent_passes: list[int] = []
        self._errors: dict[int, float | None] = {}
        self._released = 0
        self._ledger = Ledger()

    def ask(self) -> Probe | Signal:
        """Return the sampler's next proposal; WAIT while a result that it needs is missing."""
        number = len(self._ledger)
        if self._ledger.spent + 1 > self._budget.evaluations + ROUNDING:
            return WAIT if self._ledger.in_flight else DONE
        due = max(0, number - self._max_in_flight + 1)
        if number >= len(self._first) > 0:
            due = max(due, len(self._first))
        if self._ledger.told_in_order() < due:
            return WAIT
        while self._released < due:
            self._tell_sampler(self._released)
        if self._first and number == len(self._first):
            best = best_of(self._first, self._ledger)
            self._study.sampler = self._make_sampler(_starting_at(self._searched, best), self._seed)
        strategy, trained = self._next(number)
        self._spent_passes.append(strategy.forward_passes())
        seed = evaluation_seed(self._seed, 0 if self._common else number)
        images = self._budget.images_per_evaluation
        role = "start" if number == 0 else "control" if number < len(self._first) else "sample"
        training = self._budget.training(trained, seed)
        return self._ledger.ask(Probe(number, strategy, images, seed, number, role, training))

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)
        if isinstance(result, Measurement):
            self._errors[probe.number] = result.standard_error

    def _begin_with(self, first: Sequence[GenerationStrategy]) -> None:
        """Give the sampler the first strategies, or the nearest that its numbers describe."""
        searched = self._searched
        self._exact: dict[int, GenerationStrategy] = {}
        self._unknown: set[int] = set()
        if isinstance(searched, CurveSpace):
            self._exact = dict(enumerate(first))
            self._unknown = {i for i, strategy in enumerate(first) if not searched.holds(strategy)}
        for i in sorted(range(len(first)), key=self._unknown.__contains__):
            values = searched.values_of(first[i], searched.starts[1])
            passes = {PASSES: first[i].forward_passes()} if self._limited else {}
            self._study.enqueue_trial(values | passes)

    def _next(self, number: int) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """Return the next strategies: the sampler's, or a first one that it does not know."""
        if number in self._unknown:
            self._trials.append(None)
            return self._exact[number], None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(dict(self._distributions))
        self._trials.append(trial)
        found = trial.params  # read once, because every access makes a deep copy
        entries = [d.entry(found[d.name]) for d in self._searched.dimensions]
        strategy, trained = self._searched.pair(np.array(entries))
        if self._limited:
            strategy = self._limited(strategy, found[PASSES])
        return self._exact.get(number, strategy), trained

    def _tell_sampler(self, number: int) -> None:
        """Tell the sampler the result of a probe."""
        fid, trial = self._ledger.value(number), self._trials[number]
        self._released = number + 1
        if trial is None:
            return
        if (error := self._errors.get(number)) is not None:
            trial.set_user_attr(STANDARD_ERROR, error)
        if fid is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif self._ledger.stopped(number):
            trial.report(fid, self._ledger.done(number))
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            passes = [self._spent_passes[number]] if self._limited else []
            self._study.tell(trial, [fid, *passes])


def _starting_at(space: SearchSpace, start: GenerationStrategy) -> SearchSpace:
    if isinstance(space, CurveSpace):
        return space.starting_at(start)
    return replace(space, start=start) if isinstance(space, Space) else space


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the Optuna distributions of a space, by parameter name."""
    return {d.name: distribution_of(d) for d in space.dimensions}


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return the Optuna distribution of a dimension: categorical for a choice, else a range."""
    if dimension.values:
        return CategoricalDistribution(dimension.values)
    bound = dimension.range
    return FloatDistribution(float(bound.low), float(bound.high), log=bool(bound.log))
