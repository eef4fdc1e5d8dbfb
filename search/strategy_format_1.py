"""Strategy files of the first format, "autonat-strategy/1", as the second has them.

They knew four schedules, no choices and no metric but FID. Their schema stays published as
strategy.schema.1.json.
"""

from __future__ import annotations

from typing import Any

from search.choices import CHOICES
from search.measurement import with_metric
from search.reading import require_fields

FORMAT_1 = "autonat-strategy/1"
LATER_FIELDS = ("baseline", "best_control")
"""Fields that the first of these files did not have; nor did they have objective.flops."""
TEST_NAMES = {"fid": "value", "fid_se": "standard_error", "fids": "values"}


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The content of a file of the first format in the names of the second; what is not valid in it
    stays so, for whoever reads it to refuse.

    Raises:
        ValueError: a field of a test that is missing or unknown, or one that the first format does
            not have.
    """
    found = dict.fromkeys(LATER_FIELDS) | data
    generation, objective, search = (found.get(k) for k in ("generation", "objective", "search"))
    if isinstance(generation, dict):
        for name in CHOICES:
            if name in generation:
                raise ValueError(f"generation has the unknown field {name!r}: {FORMAT_1} has none")
        usual = {name: choice.default for name, choice in CHOICES.items()}
        found["generation"] = generation | usual
    if isinstance(objective, dict):
        found["objective"] = {"flops": None} | objective
    if isinstance(protocol := found.get("protocol"), dict):
        found["protocol"] = with_metric(protocol)
    if isinstance(search, dict) and "fid" in search:
        found["search"] = {"value" if k == "fid" else k: v for k, v in search.items()}
    if "test" in found:
        found["test"] = _test("test", found["test"])
    for name in LATER_FIELDS:
        control = found[name]
        if isinstance(control, dict) and "test" in control:
            found[name] = control | {"test": _test(f"{name}.test", control["test"])}
    return found


def _test(where: str, data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    names = (*TEST_NAMES, "images", "seeds", "forward_passes")
    told = require_fields(where, data, names)
    return {"metric": "fid", **{TEST_NAMES.get(k, k): v for k, v in told.items()}}
