"""The kinds of studies in a record, and what a study's settings say of it.

It is imported by what has to start fast, so it imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = "autonat-record/1"
SEARCH, TEST, ALTERNATION = "search", "test", "alternation"
"""Kinds of studies: what one method of a search did; the final test of a search; the settings of
an alternation, without trials."""


def is_our_format(found: object) -> bool:
    """Whether a study's attribute `format` is one of autonat's, of any version."""
    return str(found).startswith(FORMAT.partition("/")[0])


def what_is_searched(settings: Mapping[str, Any]) -> str:
    """The setting `what` of a study's search; the first records had generation searches only."""
    return str(settings["search"].get("what", "generation"))


def as_reported(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A study's settings, with its objective and protocol as its search is reported: under the
    metric of the final test, where that is not the metric of the search."""
    return {**settings, **settings.get("reported", {})}


def reported_metric(settings: Mapping[str, Any]) -> str:
    """The name of the metric of the final test of a study's search."""
    protocol = as_reported(settings).get("protocol") or {}
    return str(protocol.get("metric", "fid"))


def final_test_study(search: str) -> str:
    """The name of the study that holds a search's final test."""
    return f"{search}-{TEST}"


def alternation_study(name: str) -> str:
    """The name of the study that holds an alternation's settings."""
    return f"{name}-{ALTERNATION}"


def evaluations_of_one(settings: Mapping[str, Any]) -> int:
    """Evaluations that the budget of one method pays for.

    Args:
        settings: of a study of the search.
    """
    search = settings["search"]
    if what_is_searched(settings) == "generation":
        return int(search["budget"] // search["images_per_evaluation"])
    return int(search["training_budget"] // search["training_steps"])


def evaluations_of_rounds(settings: Mapping[str, Any]) -> int:
    """Evaluations that the budgets of an alternation pay for.

    Args:
        settings: of its study.
    """
    search = settings["search"]
    each = search["budget"] // search["images_per_evaluation"]
    each += search["training_budget"] // search["training_steps"]
    return int(each * search["rounds"])


def tests_in_all(settings: Mapping[str, Any]) -> int:
    """The evaluations of the final test: each winner and control with each seed.

    Args:
        settings: of the study of the final test or, before it begins, of another of its search.
    """
    search = settings["search"]
    seeds = len(search["test_seeds"])
    if "strategies" in settings:
        return seeds * len(settings["strategies"])
    trains = what_is_searched(settings) != "generation"  # then the only control is the start
    return seeds * (len(search["optimisers"]) + (1 if trains else len(search.get("controls", ()))))
