from __future__ import annotations

import importlib
import re
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from search.optimiser import Probe
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.measured import evaluate_probe
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare
from trials.objectives.travelling import check_travels, user_modules
from trials.searches.launch import check
from trials.searches.reading import read_settings

SOUND = """
class Generator:
    tokens = 16
    def describe(self):
        return {}
    def evaluate(self, strategy, images, seed):
        ...
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files of a user's folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)

    def put(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return put


def refused(name: str) -> str:
    with pytest.raises(ValueError, match="^objective ") as caught:
        load_objective(name, {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nclass (", "SyntaxError: invalid syntax (m.py, line 2)"),
        ("if True:\nx = 1", "IndentationError: expected an indented block"),
        ("import sys\nsys.exit(0)", "SystemExit: 0 (m.py, line 2)"),
        ("\n1 / 0", "ZeroDivisionError: division by zero (m.py, line 2)"),
        ("import json\njson.loads('{')", "(m.py, line 2)"),
        ("import tinynet_", "ModuleNotFoundError: No module named 'tinynet_' (m.py, line 1)"),
        ("assert False", "AssertionError (m.py, line 1)"),
    ],
)
def test_a_module_that_does_not_import_is_one_line_with_its_place(
    write: Write, text: str, line: str
) -> None:
    write("m.py", text)
    assert line in refused("m:Generator")


def test_ctrl_c_while_a_module_is_imported_interrupts(write: Write) -> None:
    write("m.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_objective("m:Generator", {})


def test_a_file_or_a_folder_in_place_of_a_module(write: Write, tmp_path: Path) -> None:
    write("m.py", SOUND)
    assert "expected a module, not a file, such as m:Generator" in refused("m.py:Generator")
    assert f"No module named 'k' in {tmp_path} or among the installed packages" in refused("k:X")


def test_errors_of_each_method_are_one_line_with_their_place(write: Write, tmp_path: Path) -> None:
    text = (
        SOUND.replace("...", "import sys; sys.exit(3)")
        + """
    def __init__(self, *, bad=False):
        if bad:
            raise KeyError("weights")
    def prepare(self, lab, report):
        open("nothing.pt")
    def check(self, space, images):
        raise ValueError("too few images")
"""
    )
    write("m.py", text)
    with pytest.raises(
        ValueError, match=re.escape("m:Generator, when it is made: KeyError: 'weights' (m.py, line")
    ):
        load_objective("m:Generator", {"bad": True})
    objective = load_objective("m:Generator", {})
    with pytest.raises(
        ValueError, match=r"^objective m:Generator, in prepare\(\): FileNotFoundError: .*line 13\)$"
    ):
        prepare(objective, tmp_path, lambda *_: None)
    settings = read_settings({"objective": "m:Generator", "steps": 2, "lab": tmp_path / "lab"})
    with pytest.raises(ValueError, match=r": too few images \(m.py, line 15\)$"):
        check(settings, objective, Lab.open(tmp_path / "lab"))


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (
            "evaluate(self, strategy, images)",
            "expected the method evaluate(strategy, images, seed), got evaluate(strategy, images)",
        ),
        ("evaluate(self, strategy, images, *, seed)", "got evaluate(strategy, images, *, seed)"),
        ("prepare(self)", "expected the method prepare(lab, report), got prepare()"),
        ("check(self, space)", "expected the method check(space, images), got check(space)"),
        ("sample(self, n)", "expected the method sample(strategy, images, seed), got sample(n)"),
        ("anchors(self)", "expected the method anchors(images), got anchors()"),
        (
            "evaluate_growing(self, strategy, images, seed, more)",
            "got evaluate_growing(strategy, images, seed, more)",
        ),
    ],
)
def test_methods_that_take_something_else_are_refused_when_loaded(
    write: Write, method: str, line: str
) -> None:
    write("m.py", f"{SOUND}\n    def {method}:\n        ...\n")
    assert line in refused("m:Generator")


def test_other_methods_of_the_same_names_do_not_matter(write: Write) -> None:
    """As torch.nn.Module has its own `train`."""
    write("m.py", f"{SOUND}\n    def train(self, mode=True):\n        ...\n")
    assert type(load_objective("m:Generator", {})).__name__ == "Generator"


@pytest.mark.parametrize("described", ["None", "[]", "{'dataset': object()}"])
def test_a_description_that_is_none(write: Write, described: str) -> None:
    write("m.py", SOUND.replace("{}", described))
    with pytest.raises(
        ValueError, match=r"^objective m:Generator(, describe\(\): expected a dict|: its)"
    ):
        describe("m:Generator", {}, load_objective("m:Generator", {}))


@pytest.mark.parametrize("value", ["float('nan')", "{1, 2}", "open", "b'x'"])
def test_a_description_that_is_no_json_is_refused(write: Write, value: str) -> None:
    write("m.py", SOUND.replace("{}", f"{{'protocol': {{'classes': {value}}}}}"))
    with pytest.raises(ValueError, match="its protocol.classes = .* is not a JSON value"):
        describe("m:Generator", {}, load_objective("m:Generator", {}))


def test_a_description_becomes_plain_json(write: Write) -> None:
    text = """
    import numpy as np, torch
    from pathlib import Path
    class Generator:
        tokens = np.int64(16)
        def describe(self):
            return {
                "dataset": Path("mine"),
                "flops": {"pass": np.int64(7), "decode": torch.tensor(0)},
                "protocol": {"classes": (np.float32(0.5), torch.ones(1, 2)), "resize": None},
            }
        def evaluate(self, strategy, images, seed): ...
    """
    write("m.py", text)
    told = describe("m:Generator", {}, load_objective("m:Generator", {}))
    assert told["objective"]["dataset"] == "mine"
    assert told["objective"]["tokens"] == 16
    assert type(told["objective"]["tokens"]) is int
    assert told["objective"]["flops"] == {"pass": 7, "decode": 0}
    assert told["protocol"]["classes"] == [0.5, [[1.0, 1.0]]]


@pytest.mark.parametrize(
    ("described", "line"),
    [
        (
            "{'training': {'mask_ratio_distribution': 'no'}}",
            r"describe\(\): mask_ratio_distribution = 'no'",
        ),
        ("{'flops': 3}", "objective.flops: expected an object"),
        ("{'protocol': 'inception'}", "its protocol has the unknown field"),
    ],
)
def test_a_description_that_no_strategy_file_could_hold(
    write: Write, described: str, line: str
) -> None:
    write("m.py", SOUND.replace("{}", described))
    with pytest.raises(ValueError, match=line):
        describe("m:Generator", {}, load_objective("m:Generator", {}))


@pytest.mark.parametrize(
    ("files", "module"),
    [
        ({"models/__init__.py": "", "models/tiny.py": ""}, "from models.tiny import Net"),
        ({"models/tiny.py": ""}, "import models.tiny"),
        ({"search.py": "space = 1"}, "from search import Mine"),
        ({"search.py": "mine = 1"}, "import search\nsearch.mine"),
        ({"trials.py": ""}, "import trials.mine"),
    ],
)
def test_a_module_that_ours_hides_is_said_to_be(
    write: Write, tmp_path: Path, files: dict[str, str], module: str
) -> None:
    for name, text in files.items():
        write(name, text)
    write("m.py", module + SOUND)
    line = refused("m:Generator")
    first = next(iter(files)).partition("/")[0]
    top = first.removesuffix(".py")
    assert f"autonat has a package named {top}, which hides {tmp_path / first}" in line


def test_an_objective_in_a_module_that_ours_hides(write: Write) -> None:
    write("search.py", SOUND)
    assert "autonat has a package named search" in refused("search:Generator")
    write("models/tiny.py", SOUND)
    assert "autonat has a package named models" in refused("models.tiny:Generator")


def test_a_package_of_the_users_may_have_models_inside(write: Write, tmp_path: Path) -> None:
    write("mine/__init__.py", "")
    write("mine/models/__init__.py", "")
    write("mine/models/tiny.py", "SIZE = 3")
    write("mine/search.py", "from .models.tiny import SIZE" + SOUND)
    write("models/__init__.py", "raise ImportError('the wrong models')")
    load_objective("mine.search:Generator", {})
    assert user_modules("mine.search:Generator") == [tmp_path / "mine"]


def test_what_a_module_imports_beside_it_travels(write: Write, tmp_path: Path) -> None:
    text = """
    import torch, models.generators.nat, tinynet
    class Generator:
        tokens = 16
        def describe(self):
            return {}
        def evaluate(self, strategy, images, seed):
            from late.inner import thing
            import namespace.part
    """
    write("m.py", text)
    write("tinynet.py", "import helper")
    write("helper.py", "import tinynet")
    write("late/__init__.py", "")
    write("late/inner.py", "import of_late")
    write("of_late.py", "")
    write("namespace/part.py", "")
    write("unrelated.py", "raise ImportError")
    write("torch.py", "raise ImportError('the installed one wins')")
    write("models/__init__.py", "raise ImportError('ours wins')")
    load_objective("m:Generator", {})
    names = {"m.py", "tinynet.py", "helper.py", "late", "of_late.py", "namespace"}
    assert set(user_modules("m:Generator")) == {tmp_path / name for name in names}
    assert user_modules("digits") == []


def test_of_a_script_or_a_notebook_what_it_imported_beside_it_travels(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own classes are in the pickle, and need no module."""
    write("beside.py", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("beside")
    script = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert user_modules("__main__:Mine") == [tmp_path / "beside.py"]  # a notebook
    script.__file__ = str(tmp_path / "script.py")
    monkeypatch.chdir("/")
    assert user_modules("__main__:Mine") == [tmp_path / "beside.py"]


@pytest.mark.parametrize(
    ("made", "attribute"),
    [
        ("self.lock = threading.Lock()", "its attribute lock cannot be sent to the workers: Type"),
        ("self.numbers = (i for i in [1])", "its attribute numbers cannot"),
        ("self.file = open(__file__, 'rb')", "its attribute file cannot"),
        ("self.net = Net()", "its attribute net.lock cannot"),
        ("self.hook = Hook(self); self.net = Net()", "its attribute net.lock cannot"),
        ("self.me = self; self.lock = threading.Lock()", "its attribute lock cannot"),
        ("self.kept = Kept(self)", "it cannot be sent to the workers"),
    ],
)
def test_what_cannot_travel_is_named(write: Write, made: str, attribute: str) -> None:
    text = f"""
import threading
class Net:
    def __init__(self):
        self.lock = threading.Lock()
class Hook:
    def __init__(self, owner):
        self.owner = owner
class Kept:
    __slots__ = ("lock", "__dict__")
    def __init__(self, owner):
        self.lock, self.owner = threading.Lock(), owner
{SOUND}
    def __init__(self):
        {made}
"""
    write("m.py", text)
    with pytest.raises(ValueError, match=f"^objective m:Generator: {attribute}") as caught:
        check_travels("objective m:Generator", load_objective("m:Generator", {}))
    assert "\n" not in str(caught.value)


def test_what_can_travel_is_not_refused(write: Write) -> None:
    made = "    def __init__(self):\n        self.f = lambda x: x\n        self.g = print\n"
    write("m.py", SOUND + made)
    check_travels("objective m:Generator", load_objective("m:Generator", {}))


def test_evaluations_fail_with_their_place(write: Write) -> None:
    write("m.py", SOUND.replace("...", "import sys; sys.exit(3)"))
    probe = Probe(0, GenerationStrategy.maskgit(2), 10, 1, 0, "start")
    found = evaluate_probe(load_objective("m:Generator", {}), probe)
    assert getattr(found, "reason", None) == "SystemExit: 3 (m.py, line 7)"
