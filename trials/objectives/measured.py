"""The boundary of objectives: what they return becomes a measurement in plain numbers or a failure.

Every runner measures through this module, and so do the commands that measure without a runner.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, Protocol, cast, runtime_checkable

from search.final_test import FinalTest, require_images, require_test_seeds
from search.gradient import checked_gradient
from search.ledger import amount_asked
from search.measurement import Failure, Measurement, metric_label
from search.optimiser import Probe
from search.progress import Report
from search.strategy import GenerationStrategy
from search.user_code import in_one_line
from trials.objectives.description import describe
from trials.objectives.objective import (
    Grows,
    MeasuresGradients,
    MeasuresTogether,
    Objective,
    require_heeded,
)
from trials.objectives.other_metric import measuring_in

logger = logging.getLogger(__name__)


@runtime_checkable
class Measures(Protocol):
    """Something that measures whole probes, including their training, in place of an objective."""

    def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
        """A measurement at each rung. Rungs grow, and the last is what the probe asks for."""


def evaluate_probe(objective: Objective | Measures, probe: Probe) -> Measurement | Failure:
    """Measure a probe; any error becomes a Failure with its reason."""
    *_, last = grow_probe(objective, probe, (amount_asked(probe),))
    return last


def evaluate_probes(
    objective: Objective | Measures, probes: Sequence[Probe]
) -> list[Measurement | Failure]:
    """Measure probes, those of the same n at once if the objective can.

    Where that fails, each is measured by itself, so that only those fail that cannot be measured.
    """
    found: dict[int, Measurement | Failure] = {}
    if isinstance(objective, MeasuresTogether):
        for images, metric in dict.fromkeys((probe.images, probe.metric) for probe in probes):
            alike = {
                n: probe
                for n, probe in enumerate(probes)
                if (probe.images, probe.metric) == (images, metric) and not probe.gradient
            }
            if len(alike) > 1:
                measured = _measured_together(objective, [*alike.values()], images, metric)
                found.update(zip(alike, measured, strict=True))
    return [found.get(n) or evaluate_probe(objective, probe) for n, probe in enumerate(probes)]


def _measured_together(
    objective: MeasuresTogether, probes: Sequence[Probe], images: int, metric: str | None
) -> list[Measurement | Failure]:
    strategies = [probe.strategy for probe in probes]
    try:
        for strategy in strategies:
            require_heeded(objective, strategy.extras())
        told = cast(MeasuresTogether, measuring_in(cast(Objective, objective), metric))
        made = told.evaluate_together(strategies, images, [probe.seed for probe in probes])
        pairs = zip(made, strategies, strict=True)
        return [checked(one, strategy, images) for one, strategy in pairs]
    except (Exception, SystemExit) as error:
        alone = [evaluate_probe(cast(Objective, objective), probe) for probe in probes]
        if not any(isinstance(result, Failure) for result in alone):
            logger.warning(
                "%d evaluations could not be measured at once, but one by one: %s",
                len(probes),
                in_one_line(error),
            )
        return alone


def grow_probe(
    objective: Objective | Measures, probe: Probe, rungs: tuple[int, ...]
) -> Iterator[Measurement | Failure]:
    """Measure a probe at growing n, or after growing training; a Failure ends the results."""
    measurements = _measurements(objective, probe, rungs)
    for amount in rungs:
        result = _measure_rung(amount, probe, lambda: next(measurements))
        yield result
        if isinstance(result, Failure):
            return


def checked(found: object, strategy: GenerationStrategy, images: int) -> Measurement:
    """What an objective returned, in Python's own numbers.

    Args:
        found: the result of a measurement.
        strategy: the strategy that was to be measured.
        images: n, the images that were to be generated.

    Returns:
        The measurement, with the scalars of NumPy and torch as Python numbers.

    Raises:
        ValueError: it is not a measurement, a value is not a number or is outside its range, or it
            states another n or another number of forward passes than asked for.
    """
    if not isinstance(found, Measurement):
        raise ValueError(f"evaluate: expected a Measurement, got {type(found).__name__}")
    error, loss, checkpoint = found.standard_error, found.validation_loss, found.checkpoint
    spread, ceiling, gradient = found.spread, found.ceiling, found.gradient
    if not (isinstance(found.metric, str) and found.metric):
        raise ValueError(f"metric = {repr(found.metric)[:80]} is not a name")
    plain = Measurement(
        value=_number("value", found.value),
        standard_error=None if error is None else _number("standard_error", error, least=0),
        images=_whole("images", found.images),
        forward_passes=_whole("forward_passes", found.forward_passes),
        seconds=_number("seconds", found.seconds, least=0),
        value_at=_values_at_smaller_n(found.value_at, images),
        training_steps=_whole("training_steps", found.training_steps),
        validation_loss=None if loss is None else _number("validation_loss", loss),
        checkpoint=None if checkpoint is None else str(checkpoint),
        spread=None if spread is None else _number("spread", spread, least=0),
        metric=found.metric,
        ceiling=None if ceiling is None else _number("ceiling", ceiling, least=0),
        gradient=None if gradient is None else checked_gradient(gradient, strategy.steps),
    )
    if plain.images != images:
        raise ValueError(f"expected a measurement of {images} images, got images = {plain.images}")
    passes = strategy.forward_passes()
    if plain.forward_passes != passes:
        raise ValueError(
            f"forward_passes = {plain.forward_passes}, but the strategy needs {passes} an image"
        )
    return plain


def require_metric(objective: str, described: str, measured: str) -> None:
    """Refuse a measurement of another metric than the objective's description says.

    Args:
        objective: its name, for the error line.
        described: the metric that `describe()` says in its protocol; "fid" where it says none.
        measured: the metric of a measurement.

    Raises:
        ValueError: they differ.
    """
    if measured != described:
        raise ValueError(
            f"objective {objective}: expected a measurement of the metric {described!r}, which its "
            f"describe() says in protocol.metric, got one of {measured!r}"
        )


def _measurements(
    objective: Objective | Measures, probe: Probe, rungs: tuple[int, ...]
) -> Iterator[Measurement]:
    if isinstance(objective, Measures):
        yield from objective.measure(probe, rungs)
        return
    objective = measuring_in(objective, probe.metric)
    require_heeded(objective, probe.strategy.extras())
    if probe.gradient:
        if not isinstance(objective, MeasuresGradients):
            raise ValueError(
                f"{type(objective).__name__} lacks the methods check_gradients and "
                "evaluate_with_gradient, which gradients need"
            )
        yield objective.evaluate_with_gradient(probe.strategy, probe.images, probe.seed)
    elif len(rungs) > 1 and isinstance(objective, Grows):
        yield from objective.evaluate_growing(probe.strategy, rungs, probe.seed)
    else:
        yield objective.evaluate(probe.strategy, probe.images, probe.seed)


def _measure_rung(
    amount: int, probe: Probe, measure: Callable[[], object]
) -> Measurement | Failure:
    """Measure at one rung.

    Args:
        amount: training steps where the probe trains a model, else images.
        probe: what was asked for.
        measure: returns what the objective measured at the rung.
    """
    trains = probe.training is not None
    try:
        found = measure()
    except StopIteration:
        return Failure(f"evaluate_growing ended before n = {amount}")
    except (Exception, SystemExit) as error:  # sys.exit would end the worker
        return Failure(in_one_line(error))
    try:
        plain = checked(found, probe.strategy, probe.images if trains else amount)
    except ValueError as error:
        return Failure(str(error))
    if trains and plain.training_steps != amount:
        return Failure(
            f"expected {amount} training steps, got training_steps = {plain.training_steps}"
        )
    return plain


def _number(name: str, value: Any, least: float = -math.inf) -> float:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise ValueError(f"{name} = {repr(value)[:80]} is not a number")
    try:
        number = float(plain)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} = {number} is not finite")
    if number < least:
        raise ValueError(f"{name} = {number} is less than {least:g}")
    return number


def _whole(name: str, value: Any) -> int:
    number = _number(name, value, least=0)
    if not number.is_integer():
        raise ValueError(f"{name} = {number} is not a whole number")
    return int(number)


def _values_at_smaller_n(points: Any, images: int) -> tuple[tuple[int, float], ...]:
    """Check the values at smaller n."""
    try:
        given = [(n, value) for n, value in points]
    except (TypeError, ValueError):
        raise ValueError(
            f"value_at: expected pairs of n and a value, got {repr(points)[:80]}"
        ) from None
    pairs = [(_whole("n of value_at", n), _number("value_at", value)) for n, value in given]
    for n, _ in pairs:
        if not 0 < n < images:
            raise ValueError(f"value_at has n = {n}, which is outside [1, {images})")
    return tuple(pairs)


def _plain(value: Any) -> Any:
    """The Python number of a scalar of NumPy, torch or similar libraries."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def replicate(
    objective: Objective,
    strategy: GenerationStrategy,
    images: int,
    seeds: list[int],
    report: Report,
) -> tuple[FinalTest, list[Measurement]]:
    """Measure a strategy with several seeds in this process.

    Returns:
        The test, and the measurement with each seed.

    Raises:
        ValueError: no seed or images, a seed that is not of tests or is named twice, more steps
            than tokens, an evaluation that failed, or one in another metric than the objective's
            description says.
        KeyboardInterrupt: it was interrupted. This error and that of a failed evaluation tell what
            was measured before.
    """
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    require_test_seeds("seeds", seeds)
    require_images(images)
    strategy.masked_counts(objective.tokens)
    name = type(objective).__name__
    metric = describe(name, {}, objective)["protocol"]["metric"]
    measured: list[Measurement] = []
    for number, seed in enumerate(seeds):
        try:
            found = evaluate_probe(objective, Probe(number, strategy, images, seed, 0, "test"))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*_measured_before(seeds, measured)) from None
        if isinstance(found, Failure):
            failed = f"n = {images}, seed {seed}: {found.reason}"
            raise ValueError("; ".join([failed, *_measured_before(seeds, measured)]))
        require_metric(name, metric, found.metric)
        measured.append(found)
        report(len(measured), len(seeds), f"{metric_label(found.metric)} {found.value:.4g}")
    fids = dict(zip(seeds, (m.value for m in measured), strict=True))
    stated = measured[0].standard_error
    return FinalTest.of(fids, images, strategy.forward_passes(), stated, metric), measured


def _measured_before(seeds: list[int], measured: list[Measurement]) -> list[str]:
    """Words on the seeds that were measured; none before the first was."""
    told = (
        f"seed {seed}: {metric_label(found.metric)} {found.value:.6g}"
        for seed, found in zip(seeds, measured, strict=False)
    )
    return [f"measured before, n = {measured[0].images}, {', '.join(told)}"] if measured else []
