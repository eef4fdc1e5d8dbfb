"""Reads the settings of a search from a study file and from values that override it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search.expected import expected
from search.names import did_you_mean
from search.reading import shown
from trials.searches.setting_groups import What
from trials.searches.settings import (
    USUAL,
    AlternationSettings,
    GenerationSearch,
    JointSearch,
    SearchSettings,
    TrainingSearch,
)
from trials.searches.standing_alone import standing_alone
from trials.searches.study_file import laid_over, read_study_file

KINDS: dict[What, type[SearchSettings]] = {
    "generation": GenerationSearch,
    "training": TrainingSearch,
    "joint": JointSearch,
    "both": AlternationSettings,
}
"""The class of settings for each value of `what`."""


UNUSED: dict[What, frozenset[str]] = {
    "training": frozenset({"budget", "controls", "bounds", "frozen", "max_forward_passes"}),
    "joint": frozenset({"budget", "controls"}),
}
"""What searches that train a model for each evaluation have, and do not use: their budget is of
training steps, and of the controls they test the start."""


KNOWN = [name for name in USUAL if name not in {"alternation", "series"}]
"""The settings that people give; the others are given by searches that belong together."""


def read_settings(
    values: dict[str, Any], study_file: Path | None = None, begun: bool = False
) -> SearchSettings:
    """Read settings from a YAML study file, or the preset of that name, and override them.

    Args:
        values: settings that override those of the file. Of settings that hold values by name,
            such as bounds, each name is overridden on its own.
        study_file: the file; None reads no file.
        begun: whether the search exists already; its record may hold settings that it does not use.

    Returns:
        The settings, which mean the same in any working directory.

    Raises:
        ValueError: the file cannot be read, or a value is not valid; its setting is named.
    """
    content = {} if study_file is None else read_study_file(study_file)
    try:
        given = laid_over(content, values)
        settings = validated(standing_alone(given))
        if not begun:
            _refuse_unused(settings, given.keys())
        return settings
    except ValueError as error:
        named = re.match(r"(\w+)[.:]", str(error))
        if named and named[1] in content and named[1] not in values:
            raise ValueError(f"{study_file}: {error}") from None
        raise


def _refuse_unused(settings: SearchSettings, given: Collection[str]) -> None:
    """Refuse settings of generation strategies or their search that this search would not use.

    Halves of an alternation have the settings of the whole.

    Args:
        settings: of the search.
        given: the names of those that people gave, without what a preset brings.

    Raises:
        ValueError: such a setting is given, and not its default.
    """
    if settings.alternation is not None:
        return
    for name in sorted(UNUSED.get(settings.what, frozenset()).intersection(given)):
        value = getattr(settings, name)
        if value != USUAL[name]:
            raise ValueError(f"{name} = {shown(value)} does not apply to what = {settings.what}")
    for name, values in settings.choices.items() if "choices" in given else ():
        if settings.what == "training" and len(values) != 1:
            raise ValueError(
                f"choices: expected one value of {name} with what = training, which searches no "
                f"generation strategies, got {shown(values)}"
            )


def validated(content: dict[str, Any]) -> SearchSettings:
    """Check settings, for the kind of search that `what` names.

    Raises:
        ValueError: a value is not valid, or this kind of search does not have its setting.
    """
    what = content.get("what", USUAL["what"])
    if str(what) not in KINDS:
        raise ValueError(f"what: expected one of {', '.join(KINDS)}, got {shown(what)}")
    if isinstance(content.get("steps"), list):
        raise ValueError(
            f"steps: expected one T, got {shown(content['steps'])}; `autonat search` runs a "
            "series, and elsewhere learn_from names the searches from which the next one learns"
        )
    kind = KINDS[what]
    applying = dict(content)
    for name in USUAL.keys() & content.keys() - kind.model_fields.keys():
        value = applying.pop(name)
        if repr(value) != repr(USUAL[name]):  # records hold the defaults of every kind of search
            raise ValueError(f"{name} = {value!r} does not apply to what = {what}")
    try:
        return kind(**applying)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            close = did_you_mean(where, KNOWN)
            raise ValueError(f"{where}: unknown{close}; known: {', '.join(KNOWN)}") from None
        if not where:  # a sentence about several settings
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None
        raise ValueError(f"{where}: {expected(first, first['input'])}") from None
