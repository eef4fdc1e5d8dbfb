"""The facts at the top of a report: what was searched, on which data, under which protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.measurement import metric_label
from trials.record.kinds import as_reported, what_is_searched
from trials.record.record import Record
from trials.record.speed import usual_speed


def _budget(settings: Mapping[str, Any]) -> str:
    search = settings["search"]
    n = f"{search['images_per_evaluation']:,}"
    what = what_is_searched(settings)
    images = f"{search['budget']:,} images a method, {n} an evaluation"
    if what == "generation":
        return images
    steps, of_one = search["training_budget"], search["training_steps"]
    training = f"{steps:,} training steps a method, {of_one:,} a model"
    if what == "both":
        return f"for each of at most {search['rounds']} rounds {training}; {images}"
    return f"{training}, {n} images an evaluation"


def facts_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The facts at the top of the report, by label."""
    objective, search = settings["objective"], settings["search"]
    protocol, searched = as_reported(settings)["protocol"], settings["protocol"]["metric"]
    same = protocol["metric"] == searched
    facts = {
        "objective": str(objective["name"]),
        "data": objective["dataset"],
        "checkpoint": objective["checkpoint"],
        "steps": f"T = {search['steps']}, {objective['tokens']} tokens an image",
        "budget": _budget(settings),
        "first strategies": ", ".join(settings["first"]) if "first" in settings else None,
        "learns from": ", ".join(search.get("learn_from") or ()) or None,
        "search seed": str(search["seed"]),
        "metric of the search": None if same else metric_label(searched),
        "features": protocol["features"],
        "quantisation": protocol["quantisation"],
        "classes": protocol["classes"],
        "precision": protocol.get("precision"),
        "reference statistics": protocol["reference_statistics_hash"],
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


def speed_facts(records: Sequence[Record]) -> dict[str, str]:
    """The speed of the evaluations of a search, by label; empty where it is not known."""
    speed = usual_speed(records)
    return {} if speed is None else {"speed": speed}
