"""How fast evaluations were: floating-point operations a second, and their share of the ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from search.strategy_file import image_flops
from trials.record.evaluation import Evaluation
from trials.record.record import Record


class Speed(NamedTuple):
    """The speed of an evaluation.

    Attributes:
        flops: floating-point operations of networks per second of its wall time. On a GPU, the
            first step is not among them, because the logits of fully masked images are computed
            once for each class: where they are computed for each image, as for texts, it is faster.
        share: of those that large matrix products reach on its device; None if not known.
    """

    flops: float
    share: float | None


def speed_of(record: Record, evaluation: Evaluation) -> Speed | None:
    """Return the speed of an evaluation.

    None if it failed, trained a model, measured a gradient, or if its cost is not known.
    """
    found, objective = evaluation.measurement, record.settings["objective"]
    probe = evaluation.probe
    strategy = probe.strategy
    each = image_flops(objective, strategy)
    if found is None or each is None or not found.seconds:
        return None
    if probe.training is not None or probe.gradient:
        return None
    if found.ceiling is not None:  # on a GPU
        each -= objective["flops"]["pass"] * (1 + strategy.guided[0])
    flops = each * found.images / found.seconds
    return Speed(flops, flops / found.ceiling if found.ceiling else None)


def usual_speed(records: Sequence[Record]) -> str | None:
    """Return the median speed of all evaluations in words; None if none is known."""
    speeds = [speed_of(record, one) for record in records for one in record.evaluations]
    known = [speed for speed in speeds if speed is not None]
    if not known:
        return None
    flops = statistics.median(speed.flops for speed in known)
    text = f"{flops / 1e12:.3g} TFLOP/s" if flops >= 1e12 else f"{flops / 1e9:.3g} GFLOP/s"
    shares = [speed.share for speed in known if speed.share is not None]
    if shares:
        text += f", {statistics.median(shares):.1%} of what matrix products reach on the device"
    return f"{text} (median evaluation)"
