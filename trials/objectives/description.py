"""What an objective says of itself, in the form of strategy files and records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.measurement import with_metric
from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS, StrategyFile
from search.user_code import explained
from trials.objectives.objective import Objective


def describe(name: str, settings: Mapping[str, Any], objective: Objective) -> dict[str, Any]:
    """The description of an objective with every field of a strategy file.

    Returns:
        A dict of JSON values with the keys objective, training and protocol; a field that the
        objective leaves out is null.

    Raises:
        ValueError: the description is not of JSON values, or has other fields than those of a
            strategy file.
    """
    with explained(f"objective {name}, in describe()", type(objective)):
        said = objective.describe()
    if not isinstance(said, Mapping):
        raise ValueError(f"objective {name}, describe(): expected a dict, got {said!r}")
    told = {key: plain_json(f"objective {name}: its {key}", said[key]) for key in said}
    protocol = told.get("protocol") or {}
    if not isinstance(protocol, dict):
        protocol = {"": protocol}
    unknown = [key for key in protocol if key not in PROTOCOL_FIELDS]
    if unknown:
        raise ValueError(
            f"objective {name}: its protocol has the unknown field {unknown[0]!r}; "
            f"known: {', '.join(PROTOCOL_FIELDS)}"
        )
    described = {
        "objective": {
            "name": name,
            "settings": plain_json(f"objective {name}: its setting", dict(settings)),
            "dataset": told.get("dataset"),
            "checkpoint": told.get("checkpoint"),
            "tokens": int(objective.tokens),
            "flops": told.get("flops"),
        },
        "training": told.get("training"),
        "protocol": dict.fromkeys(PROTOCOL_FIELDS) | with_metric(protocol),
    }
    try:  # otherwise the strategy files of the whole search could not be read back
        StrategyFile.from_json(StrategyFile(GenerationStrategy.maskgit(1)).to_json() | described)
    except ValueError as error:
        raise ValueError(f"objective {name}, describe(): {error}") from None
    return described


def plain_json(what: str, value: Any) -> Any:
    """A value in the form of JSON.

    Paths become texts, arrays and tensors become lists, and scalars become numbers.

    Raises:
        ValueError: the value has no such form; `what` is named.
    """
    if isinstance(value, Path):
        return str(value)
    if callable(as_list := getattr(value, "tolist", None)):
        value = as_list()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(f"{what}.{key}", part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(f"{what}[{i}]", part) for i, part in enumerate(value)]
    raise ValueError(f"{what} = {repr(value)[:80]} is not a JSON value")
