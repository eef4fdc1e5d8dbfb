"""Objectives in the metric of a final test, where that is not the metric of the search."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from search.user_code import explained
from trials.objectives.description import describe
from trials.objectives.objective import HasMetrics, Objective, accepted, lacks_method


def measuring_in(objective: Objective, metric: str | None, name: str = "") -> Objective:
    """An objective in the metric of a final test.

    Args:
        objective: of the search.
        metric: the name of the metric; None for that of the objective.
        name: of the objective, for errors; otherwise that of its class.

    Raises:
        ValueError: it has one metric only, or cannot measure in this one.
    """
    if metric is None:
        return objective
    named = name or type(objective).__name__
    if not isinstance(objective, HasMetrics):
        raise lacks_method(named, "in_metric", f", which test_metric = {metric} needs")
    try:
        with explained(f"objective {named}, in in_metric()", type(objective)):
            found = objective.in_metric(metric)
        return accepted(named, found)
    except ValueError as error:
        raise ValueError(f"test_metric = {metric}: {error}") from None


def differs_in_test(
    objective: Objective, described: Mapping[str, Any], metric: str | None
) -> dict[str, Any]:
    """What differs in the description of an objective in the final test.

    Args:
        objective: of the search.
        described: its description (see `describe`).
        metric: the name of the metric of the final test; None for that of the search.

    Returns:
        Its objective and protocol under the metric of the final test; nothing where that is the
        metric of the search.

    Raises:
        ValueError: the objective cannot measure in that metric.
    """
    searched = described["protocol"]["metric"]
    if metric in (None, searched):
        return {}
    name, given = described["objective"]["name"], described["objective"]["settings"]
    parameters = inspect.signature(type(objective)).parameters.values()
    if any(p.name == "metric" or p.kind is p.VAR_KEYWORD for p in parameters):
        given = {**given, "metric": metric}
    told = describe(name, given, measuring_in(objective, metric, name))
    if told["protocol"]["metric"] == searched:
        raise ValueError(
            f"test_metric = {metric}: objective {name} describes the metric {searched!r} in the "
            "final test, too"
        )
    return {part: told[part] for part in ("objective", "protocol")}
