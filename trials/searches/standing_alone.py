"""Settings of a search that mean the same in any working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.controls import CONTROLS
from trials.objectives.named_paths import with_absolute_paths
from trials.objectives.objective import OBJECTIVES
from trials.presets.presets import preset_named, read_strategy
from trials.searches.setting_groups import Searched


def standing_alone(content: dict[str, Any]) -> dict[str, Any]:
    """Settings that mean the same in any working directory.

    A strategy file or preset to start from is replaced by the strategy in it, and the paths in the
    settings of the objective become absolute. A preset brings its bounds, which given ones replace.

    Raises:
        ValueError: the strategy file cannot be read, or the objective cannot be imported.
    """
    alone = dict(content)
    start = content.get("start")
    if isinstance(start, (str, Path)) and str(start) not in CONTROLS:
        alone["start"] = read_strategy(start).generation.to_json()
        preset = preset_named(start)
        alone |= {} if preset is None else preset.brings(content)
    settings = content.get("objective_settings")
    name = content.get("objective", Searched.model_fields["objective"].default)
    if isinstance(settings, dict) and settings and isinstance(name, str):
        alone["objective_settings"] = with_absolute_paths(OBJECTIVES.load(name), settings)
    return alone
