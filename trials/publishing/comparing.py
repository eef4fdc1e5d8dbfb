"""Writes one report of several searches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.measurement import metric_label
from trials.lab import Lab
from trials.publishing.facts import facts_of
from trials.publishing.provenance import common_provenance
from trials.results.comparison import Comparison, compared
from trials.searches.settings import USUAL

LONGEST_NAME = 120
"""The most letters of the file's name without its ending."""
TOLD = {
    *("objective", "objective_settings", "steps", "seed", "what", "optimisers", "bounds", "frozen"),
    *("budget", "images_per_evaluation", "training_budget", "training_steps", "learn_from"),
    *("max_forward_passes", "alternation", "rounds", "series"),
}
"""The settings of a search of which the facts tell in words."""


def write_comparison(lab: Lab, names: Sequence[str]) -> Path:
    """Write a report of several searches beside the results of the lab.

    Args:
        lab: the lab with their records.
        names: of searches and alternations, at least two.

    Returns:
        The path of the report.

    Raises:
        ValueError: the searches cannot be compared (see `compared`), or the report cannot be
            written.
    """
    from dashboards.report import Searches, write_report

    found = compared(lab, names)
    common, different = _facts(found)
    told, path = found.settings[names[0]], _path(lab, names)
    reports = {name: lab.results(name) / "report.html" for name in names}
    links = {n: f"{n}/{file.name}" for n, file in reports.items() if file.exists()}
    untested = [r.label for r in found.results if r.searched and math.isnan(r.value)]
    return write_report(
        path,
        found.results,
        title=f"autonat: {', '.join(names[:-1])} and {names[-1]}",
        tokens=told["objective"]["tokens"],
        facts=common,
        anchors=found.anchors,
        unfinished=f"No final test yet of {', '.join(untested)}." if untested else None,
        provenance=common_provenance(f"autonat report {' '.join(names)} --lab LAB"),
        searches=Searches(names, links, different, found.over_seeds()),
    )


def _facts(found: Comparison) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The facts that are the same in all searches, and the others with the value of each search."""
    told = [_more_facts(settings) for settings in found.settings.values()]
    common, different = {}, {}
    for label in dict.fromkeys(label for facts in told for label in facts):
        values = [facts.get(label, "") for facts in told]
        if len(set(values)) == 1:
            common[label] = values[0]
        else:
            different[label] = values
    searches = [settings["search"] for settings in found.settings.values()]
    for key in sorted(set().union(*searches) - TOLD):
        values = [_in_words(search.get(key, USUAL.get(key))) for search in searches]
        if len(set(values)) > 1:
            different[key.replace("_", " ")] = values
    return common, different


def _in_words(value: Any) -> str:
    """A setting as text; none is the usual one."""
    if value is None or value in ({}, []):
        return "the usual"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _more_facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """The facts of a search, with those by which two searches of one objective may differ."""
    search = settings["search"]
    bounds = search.get("bounds") or {}
    texts = [
        f"{name} {b['low']:g} to {b['high']:g}{' (log)' if b.get('log') else ''}"
        for name, b in bounds.items()
    ]
    own = settings["objective"]["settings"]
    return facts_of(settings) | {
        "metric of the search": metric_label(settings["protocol"]["metric"]),
        "objective settings": ", ".join(f"{k} = {v}" for k, v in own.items()) or "the usual ones",
        "what is searched": str(search.get("what", "generation")),
        "methods": ", ".join(search["optimisers"]),
        "bounds": ", ".join(texts) or "the usual ones",
        "learns from": ", ".join(search.get("learn_from") or ()) or "its own evaluations alone",
        "not searched": ", ".join(search.get("frozen") or ()) or "nothing",
        "most forward passes": str(search.get("max_forward_passes") or "no limit"),
    }


def _path(lab: Lab, names: Sequence[str]) -> Path:
    stem = "+".join(names)
    if len(stem) > LONGEST_NAME:
        digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
        stem = f"{names[0]}+{len(names) - 1}-others-{digest}"
    return lab.make_results(names[0]).with_name(f"{stem}.html")
