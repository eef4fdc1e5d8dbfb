"""A series: a search for each of several T, of which each learns from those before.

The smallest T comes first, because its evaluations cost least. The searches of a series called NAME
are NAME-T2, NAME-T4 and so on; each is an ordinary search, and its record names the series.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.names import derived_search_name, require_distinct
from search.reading import shown
from trials.lab import Lab
from trials.record.searches import members_of, refuse_taken
from trials.searches.reading import read_settings, validated
from trials.searches.resuming import resumed_settings
from trials.searches.setting_groups import SeriesOf
from trials.searches.settings import WHERE_IT_RUNS, GenerationSearch, SearchSettings
from trials.searches.study_file import laid_over, read_study_file


def read_searches(values: dict[str, Any], study_file: Path | None = None) -> list[SearchSettings]:
    """Read the settings of a search, or of all searches of a series where `steps` is a list.

    Args:
        values: settings that override those of the file.
        study_file: a YAML study file, or None.

    Returns:
        The settings of one search, or of one for each T, the smallest T first.

    Raises:
        ValueError: as in `read_settings`; or a series is not of generation strategies.
    """
    content = {} if study_file is None else read_study_file(study_file)
    steps = laid_over(content, values).get("steps")
    if not isinstance(steps, list):
        return [read_settings(values, study_file)]
    if len(steps) < 2 or not all(type(one) is int for one in steps):
        raise ValueError(
            f"steps: expected a whole number, or at least two for a series, got {shown(steps)}"
        )
    require_distinct("steps", steps)
    steps = sorted(steps)
    first = read_settings(values | {"steps": steps[0]}, study_file)
    if not isinstance(first, GenerationSearch):
        raise ValueError(
            f"steps = {','.join(map(str, steps))}: expected one T with what = {first.what}; only "
            "searches of generation strategies form a series"
        )
    name = first.name
    if name is None:
        name = derived_search_name(first.objective, "-".join(map(str, steps)), first.problem())
    series = SeriesOf(name=name, steps=tuple(steps))
    return [_member(first, series, one, values, study_file) for one in steps]


def _member(
    first: GenerationSearch,
    series: SeriesOf,
    steps: int,
    values: dict[str, Any],
    study_file: Path | None,
) -> SearchSettings:
    own = {"steps": steps, **_of_series(series, steps, first.learn_from)}
    return read_settings(values | own, study_file)


def _of_series(series: SeriesOf, steps: int, before: list[str]) -> dict[str, Any]:
    """The settings of the search of one T that the series decides.

    Args:
        series: the series.
        steps: T.
        before: the searches from which already the first one learns.
    """
    earlier = [member_name(series, one) for one in series.steps if one < steps]
    return {
        "name": member_name(series, steps),
        "learn_from": [*before, *earlier],
        "series": series.model_dump(mode="json"),
    }


def member_name(series: SeriesOf, steps: int) -> str:
    """The name of a series' search of T = `steps`."""
    return f"{series.name}-T{steps}"


def refuse_begun(searches: Sequence[SearchSettings]) -> None:
    """Refuse to start a series under names that are in use.

    Raises:
        ValueError: a series of that name exists already, or a search with the name of a member.
    """
    for settings in searches:
        url = settings.open_lab().record_url
        series = settings.series if isinstance(settings, GenerationSearch) else None
        if series is not None and (begun := members_of(url, series.name)):
            raise ValueError(
                f"series {series.name} exists already, with the searches {', '.join(begun)}: "
                f"--resume {series.name} continues it, another name starts a new one"
            )
        refuse_taken(url, settings.full_name(), settings.optimisers)


def resumed_searches(
    name: str, given: dict[str, Any], study_file: Path | None
) -> list[SearchSettings]:
    """The settings of a search that is resumed, or of all searches of a series.

    Args:
        name: of the search or of the series.
        given: settings from flags.
        study_file: a YAML study file, or None.

    Returns:
        The settings of one search; or, for a series, of one for each T. Those that have not begun
        have the settings of the others.

    Raises:
        ValueError: there is neither, or a given setting differs from the recorded one.
    """
    asked = laid_over({} if study_file is None else read_study_file(study_file), given)
    where = read_settings({k: v for k, v in asked.items() if k in WHERE_IT_RUNS})
    lab = Lab.at(where.lab, where.record_url, where.tracking_uri)
    begun = members_of(lab.record_url, name)
    if not begun:
        return [resumed_settings(name, given, study_file)]
    steps, before = asked.pop("steps", None), asked.pop("learn_from", None)
    known = {s.full_name(): s for s in (resumed_settings(one, asked, None) for one in begun)}
    first = next(iter(known.values()))
    if not isinstance(first, GenerationSearch) or first.series is None:
        raise ValueError(f"the record of search {begun[0]} does not say what series it belongs to")
    series = first.series
    if steps is not None and sorted(steps if isinstance(steps, list) else [steps]) != [
        *series.steps
    ]:
        raise ValueError(
            f"series {name} was made with steps = {','.join(map(str, series.steps))}, not "
            f"{shown(steps)}"
        )
    # The first of those that are known may learn from one that was deleted.
    members = {member_name(series, one) for one in series.steps}
    learnt = [search for search in first.learn_from if search not in members]
    if before is not None and before != learnt:
        raise ValueError(
            f"series {name} was made with learn_from = {','.join(learnt) or 'none'}, not "
            f"{shown(before)}"
        )
    *_, last = known.values()
    here = last.model_dump(mode="json", include=WHERE_IT_RUNS, exclude_unset=True)
    found = []
    for one in series.steps:
        changed = {"steps": one, **_of_series(series, one, learnt)}
        alone = known.get(member_name(series, one))
        found.append(alone or validated(first.problem() | here | changed))
    return found
