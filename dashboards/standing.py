"""Sentences that compare the methods of a search with the controls."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.formatting import combined_error, is_noise, with_error
from dashboards.input import Result
from search.controls import MORE_NOISE, RIVALS, best_control, best_searched


def standing(results: Sequence[Result]) -> str | None:
    """Say how the best searched method compares with the best control.

    Returns:
        A sentence, or None if there is no searched method or no control.
    """
    found, control = best_searched(results), best_control(results)
    if found is None or control is None:
        return None
    alone = sum(r.method in RIVALS and not r.searched for r in results) == 1
    which = "the only control tested" if alone else "the best control"
    name = f"{which}, {control.label},"
    gap, combined = control.value - found.value, combined_error(found, control)
    if gap == 0 and found.values == control.values:
        return (
            f"{found.label} found nothing below {name} which needs no search: "
            "their final tests are the same"
        )
    by = with_error(abs(gap), combined)
    rest = ""
    if found.begun_with is not None:
        rest = f"; what it found is itself a control, {found.begun_with}"
    if is_noise(gap, combined):
        return (
            f"{found.label} ends level with {name} which needs no search: "
            f"their difference, {by}, is inside the noise{rest}"
        )
    if gap > 0:
        if alone and control.method != MORE_NOISE:
            rest += f"; {MORE_NOISE}, often the best control, was not tested"
        return f"{found.label} ends below {name} by {by}{rest}"
    return (
        f"no method beats {which}: {control.label}, which needs no search, ends below "
        f"{found.label}, the best searched method, by {by}"
    )


def same_first(names: Sequence[str]) -> str:
    """Say that all methods first measured the strategies with these names."""
    *most, last = names
    if not most:
        return f"every method measured the same strategy first: the {last}"
    return (
        f"every method measured the same {len(names)} strategies first: the {', '.join(most)} and "
        f"{last}, clipped to the bounds of the search"
    )
