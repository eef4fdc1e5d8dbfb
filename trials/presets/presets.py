"""Presets by name: strategy files that begin a search, with the bounds that hold them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.controls import START, USUAL_CONTROLS
from search.names import did_you_mean
from search.reading import read_json, read_yaml
from search.strategy_file import StrategyFile

FOLDER = Path(__file__).parent
ZOO = FOLDER / "zoo.yaml"


@dataclass(frozen=True)
class Preset:
    """The published settings of a generator, as the beginning of a search.

    Attributes:
        name: of the preset, and of its strategy file.
        bounds: of a search that starts from it, by schedule, where the usual ones do not hold it;
            each as {"low": ..., "high": ...}.
        frozen: the schedules that have no effect in it.
    """

    name: str
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The strategy file."""
        return FOLDER / f"{self.name}.json"

    def about(self) -> str:
        """Whose sampler it is, and what it cannot express, in sentences."""
        return str(read_json(self.path)["about"])

    def brings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that the preset brings: bounds, what is frozen, and controls.

        The start is a control, because it is the published sampler that a search has to beat.

        Args:
            settings: the given settings, which are preferred.
        """
        brought: dict[str, Any] = {}
        given = settings.get("bounds", {})
        if self.bounds and isinstance(given, dict):
            brought["bounds"] = {**self.bounds, **given}
        choices = settings.get("choices")
        orders = choices.get("token_order") if isinstance(choices, dict) else None
        # What has no effect in a Halton order may have one in the others.
        by_confidence = isinstance(orders, list) and any(
            isinstance(order, str) and order.startswith("confidence") for order in orders
        )
        if self.frozen and "frozen" not in settings and not by_confidence:
            brought["frozen"] = list(self.frozen)
        if "controls" not in settings and settings.get("what", "generation") == "generation":
            brought["controls"] = [*USUAL_CONTROLS, START]
        return brought


@functools.cache
def presets() -> dict[str, Preset]:
    """All presets by name."""
    return {
        name: Preset(name, told.get("bounds", {}), tuple(told.get("frozen", ())))
        for name, told in read_yaml(ZOO)["presets"].items()
    }


def preset_named(path: Path | str) -> Preset | None:
    """The preset of that name; None if there is none, or a file of that path."""
    return None if Path(path).exists() else presets().get(str(path))


def read_strategy(path: Path | str) -> StrategyFile:
    """Read a strategy file or, where there is no such file, the preset of that name.

    Raises:
        ValueError: there is neither, or the file is not valid; the line names it.
    """
    preset = preset_named(path)
    if preset is None and not Path(path).suffix and not Path(path).exists():
        known = ", ".join(presets())
        close = did_you_mean(str(path), presets())
        raise ValueError(f"{path}: no such strategy file or preset{close}; known: {known}")
    return StrategyFile.read(Path(path) if preset is None else preset.path)
