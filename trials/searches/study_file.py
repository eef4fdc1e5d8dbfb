"""The YAML study file, and how flags override its settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search.names import did_you_mean
from search.reading import read_yaml, shown
from trials.searches.settings import USUAL

PRESETS = Path(__file__).parent / "presets"

BY_NAME = {
    "objective_settings": "objective",
    "training_start": "mask_ratio_distribution",
    "training_bounds": "mask_ratio_distribution",
    "bounds": None,
    "choices": None,
    "optimiser_settings": None,
}
"""Settings that hold values by name, each with the setting, if any, that says what has them."""


def read_study_file(path: Path) -> dict[str, Any]:
    """Read the settings in a YAML study file or, where there is no such file, in a preset.

    Raises:
        ValueError: there is neither, the file cannot be read, or it does not hold settings.
    """
    preset = PRESETS / path.name
    # os.path.exists also accepts texts that cannot be the name of a file.
    if not os.path.exists(path) and not preset.exists():
        known = sorted(file.stem for file in PRESETS.glob("*.yaml"))
        close = did_you_mean(path.stem, known).replace("?", ".yaml?")
        names = ", ".join(f"{name}.yaml" for name in known)
        raise ValueError(f"{path}: no such file{close}; presets: {names}")
    content = read_yaml(path if os.path.exists(path) else preset)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected settings by name, got {shown(content)}")
    return {str(key): value for key, value in content.items()}


def laid_over(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Override the settings of a study file with values.

    Settings that hold values by name are overridden one name at a time, unless the values are of
    another owner (see BY_NAME). Settings of optimisers that are no longer used are left out. A
    setting that does not hold values by name, as it should, is kept, to be refused later.

    Args:
        content: of the study file.
        values: the overriding settings.
    """
    merged = content | values
    for field, owner in BY_NAME.items():
        if field not in content:
            continue
        if owner and merged.get(owner, USUAL[owner]) != content.get(owner, USUAL[owner]):
            merged[field] = values.get(field, {})
            continue
        below, above = content[field], values.get(field, {})
        if not isinstance(below, dict):
            merged[field] = below
        elif field == "optimiser_settings":
            chosen = {*values.get("optimisers", below), *above}
            if merged.get("what") == "both":
                chosen.add(merged.get("training_optimiser", USUAL["training_optimiser"]))
            merged[field] = above | {
                name: own | above.get(name, {}) if isinstance(own, dict) else own
                for name, own in below.items()
                if name in chosen
            }
        else:
            merged[field] = below | above
    return merged
