"""The final tests of several searches beside each other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.measurement import metric_label
from search.names import require_distinct
from trials.lab import Lab
from trials.record.kinds import as_reported
from trials.record.searches import alternation_names
from trials.results.anchors import Anchor, recorded_anchors
from trials.results.results import MethodResult
from trials.results.rounds import alternation_settings, recorded_results


@dataclass(frozen=True)
class Comparison:
    """The results and reference values of several searches.

    Each carries the name of its search. Controls and reference values that are the same in all
    searches are there once, without a name.

    Attributes:
        results: of all searches.
        anchors: the reference values.
        settings: the settings of each search, by its name.
    """

    results: list[MethodResult]
    anchors: list[Anchor]
    settings: Mapping[str, Mapping[str, Any]]

    def over_seeds(self) -> dict[str, list[MethodResult]]:
        """The results of searched methods by label; one for each search that differs by its seed.

        The label is the method, preceded by the searches where there are others.
        """
        alike: dict[str, list[str]] = {}
        for name, settings in self.settings.items():
            alike.setdefault(_without_seed(settings), []).append(name)
        groups: dict[str, list[MethodResult]] = {}
        for names in alike.values():
            more = "" if len(names) == 1 else f" + {len(names) - 1}"
            before = f"{names[0]}{more}/" if len(alike) > 1 else ""
            for result in self.results:
                if result.searched and result.search in names:
                    groups.setdefault(f"{before}{result.method}", []).append(result)
        return groups


def compared(lab: Lab, names: Sequence[str]) -> Comparison:
    """Collect the final tests of searches and alternations.

    Args:
        lab: the lab with their records.
        names: of searches and alternations, at least one.

    Raises:
        ValueError: a name is there twice, there is no search of that name, an alternation has no
            round yet, or two searches have different metrics, datasets or protocols.
    """
    require_distinct("searches", names)
    told: dict[str, Mapping[str, Any]] = {}
    results: list[MethodResult] = []
    anchors: list[Anchor] = []
    for name in names:
        records, found = recorded_results(lab, name)
        if not records:
            raise ValueError(f"alternation {name}: no round is done")
        alternates = name in alternation_names(lab.record_url)
        told[name] = alternation_settings(lab, name) if alternates else records[0].settings
        _require_comparable(next(iter(told)), name, told)
        results += [dataclasses.replace(result, search=name) for result in found]
        anchors += [dataclasses.replace(a, search=name) for a in recorded_anchors(records)]
    searches = len(told)
    return Comparison(_controls_once(results, searches), _anchors_once(anchors, searches), told)


def _require_comparable(first: str, name: str, told: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a search whose numbers cannot stand beside those of the first one."""
    ours, theirs = (as_reported(told[search])["protocol"] for search in (first, name))
    metrics = [metric_label(protocol["metric"]) for protocol in (ours, theirs)]
    never = "their numbers cannot be compared"
    if metrics[0] != metrics[1]:
        raise ValueError(f"{first} was measured in {metrics[0]}, {name} in {metrics[1]}: {never}")
    if _but_of_tokens(ours) != _but_of_tokens(theirs):
        raise ValueError(f"{name} and {first} have different protocols of {metrics[0]}: {never}")
    data = [told[search]["objective"]["dataset"] or "unnamed data" for search in (first, name)]
    if data[0] != data[1]:
        raise ValueError(f"{first} was measured on {data[0]}, {name} on {data[1]}: {never}")


def _but_of_tokens(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol without the precision of the tokens, which belongs to what is compared."""
    precision = protocol.get("precision")
    if precision is None:
        return dict(protocol)
    return {**protocol, "precision": precision.partition("; ")[2]}


def _without_seed(settings: Mapping[str, Any]) -> str:
    """Everything that decides what a search finds, but its seed, as text."""
    search = {k: v for k, v in settings["search"].items() if k not in ("seed", "series")}
    series, earlier = settings["search"].get("series"), search.get("learn_from")
    if series and earlier:  # the name of a member is that of the series and its T
        search["learn_from"] = [name.removeprefix(series["name"]) for name in earlier]
    parts = [settings.get(part) for part in ("objective", "protocol", "space", "training", "first")]
    return json.dumps([search, *parts], sort_keys=True)


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
