"""The YAML study file, and flags over what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search.reading import read_yaml, shown

PRESETS = Path(__file__).parent / "presets"

BY_NAME = {
    "objective_settings": "objective",
    "training_start": "mask_ratio_distribution",
    "training_bounds": "mask_ratio_distribution",
    "bounds": None,
    "choices": None,
    "optimiser_settings": None,
}
"""Fields that hold values by name, each with the field, if any, that says whose they are."""


def read_study_file(path: Path) -> dict[str, Any]:
    """The settings that a YAML study file says; where there is none, those of the preset of that
    name.

    Raises:
        ValueError: it cannot be read, or holds no settings.
    """
    preset = PRESETS / path.name
    # os.path: what is no name of a file is no file, too.
    if not os.path.exists(path) and not preset.exists():
        known = ", ".join(sorted(file.name for file in PRESETS.glob("*.yaml")))
        raise ValueError(f"{path}: no such file; presets: {known}")
    content = read_yaml(path if os.path.exists(path) else preset)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold settings by name, not {shown(content)}")
    return {str(key): value for key, value in content.items()}


def laid_over(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values over a study file's; what a field holds by name is laid over one by one.

    What the file holds in place of names is kept, to be refused with all else that is not valid.
    Its settings of optimisers that the values leave out are left out.
    """
    merged = content | values
    for field, owner in BY_NAME.items():
        if field not in content or (owner and merged.get(owner) != content.get(owner)):
            continue
        below, above = content[field], values.get(field, {})
        if not isinstance(below, dict):
            merged[field] = below
        elif field == "optimiser_settings":
            chosen = {*values.get("optimisers", below), *above}
            merged[field] = above | {
                name: own | above.get(name, {}) if isinstance(own, dict) else own
                for name, own in below.items()
                if name in chosen
            }
        else:
            merged[field] = below | above
    return merged
