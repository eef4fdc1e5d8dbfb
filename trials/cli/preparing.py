"""Prepares an objective while the terminal shows the progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trials.lab import Lab
from trials.objectives.objective import Objective
from trials.objectives.preparing import prepared
from trials.progress import LiveProgress


def prepared_live(name: str, settings: Mapping[str, Any], lab: Lab) -> Objective:
    """Make and prepare an objective in a lab (see `trials.objectives.preparing.prepared`)."""
    with LiveProgress() as progress:
        return prepared(name, settings, lab.folder, progress)
