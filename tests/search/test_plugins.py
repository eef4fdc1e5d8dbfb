from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from search.plugins import Registry

Install = Callable[..., None]


@pytest.fixture
def shapes() -> Registry[type]:
    return Registry("shape", {"fraction": "fractions:Fraction", "complex": complex})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module, as pip would, where only this test finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(package: str, code: str, group: str = "autonat.shapes", **points: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        listed = "\n".join(f"{name} = {package}:{value}" for name, value in points.items())
        (folder / "entry_points.txt").write_text(f"[{group}]\n{listed}\n")

    return put


def test_built_in_ones_are_found(shapes: Registry[type]) -> None:
    assert shapes.names() == ["fraction", "complex"]
    assert shapes.load("fraction") is Fraction
    assert shapes.load("complex") is complex
    assert shapes.group == "autonat.shapes"
    assert Registry[type]("features", {}).group == "autonat.features"


def test_one_registered_in_code(shapes: Registry[type]) -> None:
    for _ in range(2):  # a notebook's cell may run twice

        @shapes.register("mine")
        class Mine: ...

        assert shapes.load("mine") is Mine
    assert shapes.names() == ["fraction", "complex", "mine"]
    with pytest.raises(ValueError, match="the shape 'fraction' is built in"):
        shapes.register("fraction")
    for name in ("", "a:b", " a"):
        with pytest.raises(ValueError, match="without colon and outer spaces, got"):
            shapes.register(name)


def test_one_of_a_package(shapes: Registry[type], install: Install) -> None:
    install("shapes_of_a", "class A: ...", a="A", fraction="A")
    assert shapes.names() == ["fraction", "complex", "a"]
    assert shapes.sources()["a"] == "shapes_of_a:A, of the package shapes_of_a"
    assert shapes.load("a").__name__ == "A"
    assert shapes.load("fraction") is Fraction, "what is built in stays what it is"


def test_a_broken_package_costs_only_who_asks_for_it(
    shapes: Registry[type], install: Install
) -> None:
    install("shapes_of_b", "import sys\n1 / 0", b="B")
    install("shapes_of_c", "class C: ...", c="C", d="Missing")
    assert shapes.names() == ["fraction", "complex", "b", "c", "d"]
    assert "shapes_of_c" not in sys.modules, "listing imports nothing"
    assert shapes.load("c").__name__ == "C"
    with pytest.raises(ValueError, match="^shape b .shapes_of_b:B, of the package shapes_of_b.: Z"):
        shapes.load("b")
    with pytest.raises(ValueError, match="^shape d .*of the package shapes_of_c.: AttributeError"):
        shapes.load("d")


def test_two_packages_of_one_name(shapes: Registry[type], install: Install) -> None:
    install("shapes_of_e", "class E: ...", e="E")
    install("shapes_of_f", "class E: ...", e="E")
    with pytest.raises(ValueError, match="shape e is registered more than once: .*_e; .*_f$"):
        shapes.load("e")


def test_one_of_the_current_folder(
    shapes: Registry[type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_shapes.py").write_text("class Round: ...\ndef made(): ...")
    assert shapes.load("own_shapes:Round").__name__ == "Round"
    assert shapes.load("own_shapes:made").__name__ == "made"
    with pytest.raises(ValueError, match="^shape own_shapes:Flat: own_shapes has no class 'Flat'"):
        shapes.load("own_shapes:Flat")


@pytest.mark.parametrize("name", ["", "square", None, 3, ["fraction"]])
def test_unknown_names_list_the_known(shapes: Registry[type], name: object) -> None:
    with pytest.raises(ValueError, match="is unknown; known: fraction, complex, or package.module"):
        shapes.load(name)


def test_a_kind_whose_names_take_an_argument() -> None:
    kinds = Registry[type]("shape", {"fraction": "fractions:Fraction"}, argument=":PATH")
    assert kinds.load_with_argument("fraction:a:b") == ("fraction", Fraction, "a:b")
    for text in ("fraction", "fraction:", "square:a"):
        with pytest.raises(ValueError, match="is unknown; known: fraction:PATH$"):
            kinds.load_with_argument(text)


def test_all_kinds_are_listed_without_importing_what_they_name() -> None:
    code = (
        "import sys\n"
        "from trials.objectives.objective import OBJECTIVES\n"
        "from search.training_strategy import DISTRIBUTIONS\n"
        "print(OBJECTIVES.names(), DISTRIBUTIONS.names())\n"
        "assert not {'torch', 'optuna', 'scipy.stats'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
