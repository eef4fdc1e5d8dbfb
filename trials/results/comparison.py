"""The final tests of several searches in one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.measurement import metric_label
from search.names import require_distinct
from trials.lab import Lab
from trials.record.searches import alternation_names, search_records
from trials.results.anchors import Anchor, recorded_anchors
from trials.results.results import MethodResult, method_results
from trials.results.rounds import recorded_rounds, round_results


@dataclass(frozen=True)
class Comparison:
    """The results and reference values of several searches.

    Each carries the name of its search. Controls and reference values that are the same in all
    searches are there once, without a name.
    """

    results: list[MethodResult]
    anchors: list[Anchor]


def compared(lab: Lab, names: Sequence[str]) -> Comparison:
    """Collect the final tests of searches and alternations.

    Args:
        lab: the lab with their records.
        names: of searches and alternations, at least one.

    Raises:
        ValueError: a name is there twice, there is no search of that name, an alternation has no
            round yet, or two searches have different protocols.
    """
    require_distinct("searches", names)
    alternations = alternation_names(lab.record_url)
    protocols: dict[str, Any] = {}
    results: list[MethodResult] = []
    anchors: list[Anchor] = []
    for name in names:
        if name in alternations:
            rounds = recorded_rounds(lab, name)
            if not rounds:
                raise ValueError(f"alternation {name}: no round is done")
            records = search_records(lab.record_url, rounds[0].generation)
            found = round_results(lab, rounds)
        else:
            records = search_records(lab.record_url, name)
            found = method_results(records)
        protocols[name] = records[0].settings["protocol"]
        first = next(iter(protocols))
        metrics = [metric_label(protocols[n]["metric"]) for n in (first, name)]
        if metrics[0] != metrics[1]:
            raise ValueError(
                f"{first} was measured in {metrics[0]}, {name} in {metrics[1]}: their numbers "
                "cannot be compared"
            )
        if protocols[name] != protocols[first]:
            raise ValueError(
                f"{name} and {first} have different protocols of {metrics[0]}: their numbers "
                "cannot be compared"
            )
        results += [dataclasses.replace(result, search=name) for result in found]
        anchors += [dataclasses.replace(a, search=name) for a in recorded_anchors(records)]
    searches = len(protocols)
    return Comparison(_controls_once(results, searches), _anchors_once(anchors, searches))


def _controls_once(results: list[MethodResult], searches: int) -> list[MethodResult]:
    """Keep a control that is the same in all searches only once, without a search's name."""
    kept: list[MethodResult] = []
    for result in results:
        same = [
            r
            for r in results
            if not r.searched and _measured_control(r) == _measured_control(result)
        ]
        if result.searched or len(same) < searches:
            kept.append(result)
        elif result is same[0]:
            kept.append(dataclasses.replace(result, search=None))
    return kept


def _measured_control(result: MethodResult) -> tuple[object, ...]:
    """Everything that must agree for two controls to be the same measurement."""
    return result.method, result.strategy, result.test_images, result.test_seeds, result.values


def _anchors_once(anchors: list[Anchor], searches: int) -> list[Anchor]:
    """Keep a reference value that is the same in all searches only once, without a name."""
    kept: list[Anchor] = []
    for anchor in anchors:
        same = [a for a in anchors if dataclasses.replace(a, search=anchor.search) == anchor]
        if len(same) < searches:
            kept.append(anchor)
        elif anchor is same[0]:
            kept.append(dataclasses.replace(anchor, search=None))
    return kept
