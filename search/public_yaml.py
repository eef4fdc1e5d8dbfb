"""The strategy format of AutoNAT's public code: a YAML file of four plain lists.

Its conventions are ours (guidance as cond + s * (cond - uncond); T - 1 mask ratios and remask
temperatures, T sampling temperatures and guidance scales); only the names differ. The public
search cannot use a guidance scale below 1e-4, so 1e-4 means 0 in these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from search.files import write_text
from search.reading import read_yaml, require_fields
from search.strategy import GenerationStrategy

PUBLIC_NAMES = {
    "manual_ratios": "mask_ratio",
    "manual_temp": "remask_temperature",
    "manual_samp_temp": "sampling_temperature",
    "manual_cfg": "guidance_scale",
}
PUBLIC_GUIDANCE_FLOOR = 1e-4


def from_public(data: Any) -> GenerationStrategy:
    """Make a strategy, with guidance_floor = 1e-4, from the content of a public file.

    Raises:
        ValueError: a list is missing, unknown or not valid.
    """
    lists = require_fields("the public strategy", data, tuple(PUBLIC_NAMES))
    return GenerationStrategy(
        **{PUBLIC_NAMES[name]: values for name, values in lists.items()},
        guidance_floor=PUBLIC_GUIDANCE_FLOOR,
    )


def to_public(strategy: GenerationStrategy) -> dict[str, list[float]]:
    """Return the content of a public file that stands for a strategy.

    The format has no guidance floor: a guidance scale at or below the floor is written as 1e-4.

    Raises:
        ValueError: the strategy has a choice that is not the default, or an added schedule.
    """
    for words in strategy.extras().values():
        raise ValueError(
            f"the public code's format holds only the four standard schedules, but the strategy "
            f"has {words}"
        )
    lists = {public: list(getattr(strategy, name)) for public, name in PUBLIC_NAMES.items()}
    scales = zip(strategy.guidance_scale, strategy.guided, strict=True)
    lists["manual_cfg"] = [s if guided else PUBLIC_GUIDANCE_FLOOR for s, guided in scales]
    return lists


def read_public(path: Path) -> GenerationStrategy:
    """Read a public YAML file.

    Raises:
        ValueError: the file cannot be read, is not YAML, or holds no valid strategy.
    """
    content = read_yaml(path)
    try:
        return from_public(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_public(path: Path, strategy: GenerationStrategy) -> None:
    """Write a public YAML file.

    Raises:
        ValueError: see `to_public`.
    """
    write_text(path, yaml.safe_dump(to_public(strategy), sort_keys=False))
