"""The house: which room looks at which. Arrows point down only, and CONTRIBUTING draws them."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("search", "models", "dashboards", "trials")

ARROWS = {
    "search": "",
    "models": "search",
    "dashboards": "search",
    "trials.record": "search",
    "trials.lab": "search trials.record",
    "trials.presets": "search",
    "trials.progress": "search",
    "trials.quiet": "",
    "trials.objectives": "search models trials.record",
    "trials.testing": "search trials.objectives",
    "trials.runners": "search models trials.objectives trials.record",
    "trials.tracking": "search trials.lab trials.record",
    "trials.results": "search trials.lab trials.objectives trials.record",
    "trials.searches": "search models trials.lab trials.objectives trials.presets trials.record "
    "trials.results trials.runners trials.tracking",
    "trials.publishing": "search models dashboards trials.lab trials.objectives trials.progress "
    "trials.record trials.results trials.searches trials.tracking",
    "trials.python": "search dashboards trials.lab trials.objectives trials.presets "
    "trials.progress trials.record "
    "trials.results trials.searches trials.publishing trials.quiet",
    "trials.cli": "search models dashboards trials.lab trials.objectives trials.progress "
    "trials.presets trials.quiet trials.record trials.results trials.runners trials.searches "
    "trials.publishing trials.tracking",
}
"""What each room may import. One more arrow is a decision: it is written here, or not made."""

FOREIGN = {
    "search": {"torch", "ray", "mlflow", "pandas", "plotly", "typer", "rich", "pydantic"},
    "models": {"ray", "mlflow", "optuna", "plotly", "typer", "rich", "sqlalchemy"},
    "dashboards": {"torch", "ray", "optuna", "typer"},
}
"""Libraries that a floor does without."""

OPTIONAL = {"search/optimisers/qlognei.py": {"torch"}}
"""Files that are imported only by who asks for what they need an extra for, and such libraries."""


def room_of(module: str, whole: bool) -> str:
    """`trials.record` of trials.record.storage; models is one room, unless `whole` is False."""
    parts = module.split(".")
    inner = parts[0] == "trials" or (parts[0] == "models" and not whole)
    return ".".join(parts[:2]) if inner else parts[0]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def arrows(whole: bool = True) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for floor in FLOORS:
        for file in sorted((ROOT / floor).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            own = room_of(module.removesuffix(".__init__"), whole)
            to = {
                room_of(m, whole) for m in imports(file) if "." in m and m.split(".")[0] in FLOORS
            }
            found.setdefault(own, set()).update(to - {own})
    found.pop("trials", None)  # its __init__, which holds a docstring
    return found


def picture() -> str:
    """The arrows between rooms as Mermaid draws them; those that others imply are left out."""
    lines = ["```mermaid", "graph TD"]
    for room, named in ARROWS.items():
        below = set(named.split())
        implied = {far for near in below for far in reached(near)}
        lines += [f"    {room} --> {one}" for one in sorted(below - implied)]
    return "\n".join([*lines, "```"])


def reached(room: str) -> set[str]:
    below = set(ARROWS[room].split())
    return below | {far for near in below for far in reached(near)}


def test_every_arrow_between_rooms_is_a_listed_one() -> None:
    for room, found in arrows().items():
        new = found - set(ARROWS[room].split())
        assert not new, f"{room} imports {', '.join(sorted(new))}: not one of the arrows above"


def test_no_two_rooms_look_at_each_other() -> None:
    TopologicalSorter({room: named.split() for room, named in ARROWS.items()}).prepare()
    TopologicalSorter(arrows(whole=False)).prepare()


@pytest.mark.parametrize("floor", FOREIGN)
def test_a_floor_does_without_these_libraries(floor: str) -> None:
    for file in (ROOT / floor).rglob("*.py"):
        name = str(file.relative_to(ROOT))
        foreign = FOREIGN[floor] - OPTIONAL.get(name, set())
        used = {module.partition(".")[0] for module in imports(file)} & foreign
        assert not used, f"{name} imports {used}"


def test_contributing_draws_them() -> None:
    assert picture() in (ROOT / "CONTRIBUTING.md").read_text(), f"draw them there:\n{picture()}"


def test_only_who_shows_results_imports_dashboards() -> None:
    lookers = {room for room, found in arrows().items() if "dashboards" in found}
    assert lookers <= {"trials.cli", "trials.publishing", "trials.python"}
