"""Converts strategy files of the format "autonat-strategy/1" to "autonat-strategy/2".

The first format has four schedules, no choices and no metric but FID. Its schema stays published as
strategy.schema.1.json.
"""

from __future__ import annotations

from typing import Any

from search.choices import CHOICES
from search.measurement import with_metric
from search.reading import require_fields

FORMAT_1 = "autonat-strategy/1"
LATER_FIELDS = ("baseline", "best_control")
"""Fields that the earliest files of the first format lack; they lack objective.flops as well."""
TEST_NAMES = {"fid": "value", "fid_se": "standard_error", "fids": "values"}


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of a file from the first format to the second.

    Values are not checked here: a value that is not valid stays as it is, and is refused later.

    Raises:
        ValueError: a field of a test is missing or unknown, or a field is not of the first format.
    """
    found = dict.fromkeys(LATER_FIELDS) | data
    generation, objective, search = (found.get(k) for k in ("generation", "objective", "search"))
    if isinstance(generation, dict):
        for name in CHOICES:
            if name in generation:
                raise ValueError(
                    f"generation has the field {name!r}, which {FORMAT_1} does not have"
                )
        defaults = {name: choice.default for name, choice in CHOICES.items()}
        found["generation"] = generation | defaults
    if isinstance(objective, dict):
        found["objective"] = {"flops": None} | objective
    if isinstance(protocol := found.get("protocol"), dict):
        found["protocol"] = with_metric(protocol)
    if isinstance(search, dict) and "fid" in search:
        found["search"] = {"value" if k == "fid" else k: v for k, v in search.items()}
    if "test" in found:
        found["test"] = _upgraded_test("test", found["test"])
    for name in LATER_FIELDS:
        control = found[name]
        if isinstance(control, dict) and "test" in control:
            found[name] = control | {"test": _upgraded_test(f"{name}.test", control["test"])}
    return found


def _upgraded_test(where: str, data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    names = (*TEST_NAMES, "images", "seeds", "forward_passes")
    test = require_fields(where, data, names)
    return {"metric": "fid", **{TEST_NAMES.get(k, k): v for k, v in test.items()}}
