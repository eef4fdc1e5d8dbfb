"""The facts at the top of a report: what was searched, on which data, under which protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trials.record.kinds import what_is_searched


def _budget(settings: Mapping[str, Any]) -> str:
    search = settings["search"]
    n = f"{search['images_per_evaluation']:,}"
    if what_is_searched(settings) == "generation":
        return f"{search['budget']:,} images a method, {n} an evaluation"
    return (
        f"{search['training_budget']:,} training steps a method, {search['training_steps']:,} a "
        f"model, {n} images an evaluation"
    )


def facts_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The facts at the top of the report, by label."""
    objective, protocol, search = (settings[k] for k in ("objective", "protocol", "search"))
    facts = {
        "objective": str(objective["name"]),
        "data": objective["dataset"],
        "checkpoint": objective["checkpoint"],
        "steps": f"T = {search['steps']}, {objective['tokens']} tokens an image",
        "budget": _budget(settings),
        "first strategies": ", ".join(settings["first"]) if "first" in settings else None,
        "search seed": str(search["seed"]),
        "features": protocol["features"],
        "quantisation": protocol["quantisation"],
        "classes": protocol["classes"],
        "precision": protocol.get("precision"),
        "reference statistics": protocol["reference_statistics_hash"],
    }
    return {key: str(value) for key, value in facts.items() if value is not None}
