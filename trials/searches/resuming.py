"""The settings of a search that is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials.lab import Lab
from trials.record.differences import require_same
from trials.record.kinds import what_is_searched
from trials.record.place import last_place
from trials.record.searches import recorded_settings
from trials.searches.reading import read_settings, validated
from trials.searches.settings import (
    KEPT_PLACE,
    LATER,
    USUAL,
    WHERE_IT_RUNS,
    SearchSettings,
)
from trials.searches.standing_alone import standing_alone
from trials.searches.study_file import read_study_file


def resumed_settings(
    name: str, given: dict[str, object], study_file: Path | None
) -> SearchSettings:
    """The settings of a search that is resumed.

    Args:
        name: of the search.
        given: settings from flags.
        study_file: a YAML study file, or None.

    Returns:
        The recorded settings. Where the search runs is taken from `given` and the file, and
        otherwise as it last ran.

    Raises:
        ValueError: there is no such search, or a given setting differs from the recorded one.
    """
    place = {k: v for k, v in given.items() if k in WHERE_IT_RUNS}
    where = read_settings(place, study_file, begun=True)
    lab = Lab.at(where.lab, where.record_url, where.tracking_uri)
    recorded = recorded_settings(lab.record_url, name)
    of_file = {} if study_file is None else read_study_file(study_file)
    usual = {"what": what_is_searched({"search": recorded})}
    usual |= {name: recorded[name] for name in ("objective", "optimisers")}
    usual |= _kept_place(lab.record_url, name, of_file | given)
    usual = {key: value for key, value in usual.items() if key not in of_file}
    now = read_settings(usual | given | {"name": name}, study_file, begun=True)
    whole = {name: USUAL[name] for name in LATER} | recorded
    here = now.model_dump(mode="json", exclude=set(whole), exclude_unset=True)
    settings = validated(recorded | here)
    asked = {*usual, *given, *of_file} & now.model_fields_set  # without what a preset brings
    said = now.model_dump(mode="json", include=asked & whole.keys())
    alone = standing_alone(whole)
    try:
        require_same(f"search {name}", {key: _named(alone, said, key) for key in said}, said)
    except ValueError as error:
        raise ValueError(f"{error}: leave that out, or start a new search") from None
    return settings


def _named(recorded: Mapping[str, Any], said: Mapping[str, Any], name: str) -> Any:
    """The recorded value of a setting; of the settings of optimisers, which are recorded with all
    their values, only those that are said."""
    if name != "optimiser_settings":
        return recorded[name]
    return {
        optimiser: {key: recorded[name].get(optimiser, {}).get(key) for key in values}
        for optimiser, values in said[name].items()
    }


def _kept_place(url: str, name: str, asked: Mapping[str, object]) -> dict[str, Any]:
    """Where a resumed search ran; without its runner if it is asked for what only Ray has."""
    place = {key: value for key, value in last_place(url, name).items() if key in KEPT_PLACE}
    if any(asked.get(setting) is not None for setting in ("ray_address", "time_limit")):
        place.pop("runner", None)
    return place
