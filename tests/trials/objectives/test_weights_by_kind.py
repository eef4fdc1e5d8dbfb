"""Published checkpoints of every family in the objective `images`, by KIND:PATH."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.images import ImagesObjective
from trials.objectives.objective import Trains, load_objective

Autonat = Callable[..., tuple[int, str, str]]
TESTS = Path(__file__).parents[2]
REFERENCE = TESTS / "reference"
TWO = GenerationStrategy.maskgit(2)
VQGAN = f"vqgan:{TESTS / 'models' / 'files' / 'vqgan.ckpt'}"
NAT = TESTS / "models" / "files" / "nat.pth"

FAMILIES: dict[str, dict[str, Any]] = {
    "muse": {
        "weights": f"muse:{REFERENCE / 'muse' / 'muse_class.pth'}",
        "tokenizer": VQGAN,
        "num_heads": 4,
    },
    "halton": {
        "weights": f"halton:{REFERENCE / 'halton' / 'maskgit.pth'}",
        "tokenizer": f"llamagen:{REFERENCE / 'halton' / 'vq_ds2.pt'}",
        "num_heads": 4,
    },
    "titok": {
        "weights": f"titok:{REFERENCE / 'titok' / 'titok_uvit.bin'}",
        "tokenizer": f"titok:{REFERENCE / 'titok' / 'titok_tokenizer.bin'}",
    },
    "amused": {
        "weights": f"amused:{REFERENCE / 'amused' / 'amused_256_small'}",
        "prompts": str(REFERENCE / "amused" / "prompts.txt"),
    },
}
"""The settings of a small checkpoint of each family."""


@pytest.fixture(params=[*FAMILIES])
def family(request: pytest.FixtureRequest, image_settings: dict[str, Any]) -> dict[str, Any]:
    measured = {name: image_settings[name] for name in ("features", "reference")}
    return {**FAMILIES[request.param], **measured, "chunk": 14}


def test_a_family_is_measured_by_its_name(family: dict[str, Any]) -> None:
    objective = load_objective("images", family)
    assert isinstance(objective, ImagesObjective)
    objective.check(Space(TWO), 20)
    assert objective.evaluate(TWO, 20, 1).finite
    told = describe("images", family, objective)
    assert told["training"] is None
    assert told["objective"]["checkpoint"].startswith("sha256:")
    assert told["objective"]["flops"]["pass"] > 0
    # It cannot be trained here, which a search of trainings says before it starts.
    assert isinstance(objective, Trains)
    with pytest.raises(ValueError, match="weights that are given as KIND:PATH are measured as"):
        objective.training_key(TrainingStrategy("uniform"), 0)


def test_the_kind_of_a_path_alone_is_recognised(family: dict[str, Any]) -> None:
    alone = {**family, "weights": family["weights"].partition(":")[2]}
    told = [load_objective("images", settings).describe() for settings in (alone, family)]
    assert told[0] == told[1]


def test_a_search_needs_the_prompts_that_a_generator_can_do_without(
    image_settings: dict[str, Any],
) -> None:
    measured = {name: image_settings[name] for name in ("features", "reference")}
    weights = FAMILIES["amused"]["weights"]
    with pytest.raises(ValueError, match=f"prompts: {weights} takes texts, but none are given: --"):
        load_objective("images", {**measured, "weights": weights})


def test_a_nat_by_its_kind_gives_the_numbers_of_the_path_alone(
    image_settings: dict[str, Any], tmp_path: Path
) -> None:
    measured = {name: image_settings[name] for name in ("features", "reference")}
    common = {**measured, "tokenizer": VQGAN, "num_heads": 4, "chunk": 14}
    by_kind = ImagesObjective(weights=f"nat:{NAT}", **common)
    sizes = {"grid": 16, "num_classes": 10, "width": 48, "depth": 4}
    by_path = ImagesObjective(weights=str(NAT), **common, **sizes)
    by_path.prepare(tmp_path, lambda *_: None)
    one, other = (objective.sample(TWO, 2, 1) for objective in (by_kind, by_path))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"weights": f"muse:{NAT}"}, "expected .* kind muse, got a NAT for classes: .* nat:PATH"),
        ({"weights": "muse:nothing.pth"}, "nothing.pth: No such file"),
        (
            {"weights": "mus:x.pth"},
            "KIND:PATH with one of the kinds nat, .*; got mus:x.pth",
        ),
        ({"weights": VQGAN.removeprefix("vqgan:")}, "expected a generator, got .*, a tokenizer"),
        ({"tokenizer": None}, "needs the setting tokenizer"),
        ({"tokenizer": f"vqgan:{NAT}"}, "kind vqgan, got a NAT for classes: the generator nat:PA"),
        ({"grid": 16}, r"grid = 16, but muse:.* has \(8, 8\)"),
        ({"num_classes": 3}, "num_classes = 3, but muse:.* has 10"),
        ({"data": "somewhere"}, "expected either data or weights"),
        ({"checkpoint": "sha256:0"}, "expected either checkpoint or weights, got both"),
        ({"num_heads": 0}, "num_heads = 0 is not a positive integer"),
    ],
)
def test_what_does_not_fit_is_one_line(
    image_settings: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    measured = {name: image_settings[name] for name in ("features", "reference")}
    with pytest.raises(ValueError, match=line) as caught:
        load_objective("images", {**FAMILIES["muse"], **measured, **change})
    assert "\n" not in str(caught.value)


def test_settings_of_networks_trained_here_are_said_to_be_unused(
    image_settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    measured = {name: image_settings[name] for name in ("features", "reference")}
    preset = {"size": "L", "alpha": 12, "beta": 3}
    load_objective("images", {**FAMILIES["muse"], **measured, **preset})
    (of_words,) = caplog.messages
    assert "60 words, 48 are taken for codes" in of_words
    load_objective("images", {**FAMILIES["muse"], **measured, "width": 9, "alpha": 4, "beta": 3})
    (line,) = set(caplog.messages) - {of_words}
    assert line.startswith("muse:")
    assert line.endswith(": width = 9, alpha = 4")


@pytest.mark.parametrize(
    "family",
    [
        "muse",
        "amused",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("halton", "titok")),
    ],
    indirect=True,
)
def test_a_search_of_a_family_to_the_end(
    autonat: Autonat, family: dict[str, Any], with_mlflow: Lab
) -> None:
    """Record, best.json, report, MLflow, and its winner measured again."""
    lab = with_mlflow.folder
    words = [word for name, value in family.items() for word in ("--set", f"{name}={value}")]
    sizes = [
        "--images",
        14,
        "--budget",
        42,
        "--optimisers",
        "random",
        "--test-images",
        14,
        "--test-seeds",
        "1",
    ]
    code, out, err = autonat(
        *("search", "--objective", "images", "--steps", 2, "--name", "zoo", "--lab", lab),
        *(*sizes, *words, "--workers", 1, "--runner", "local"),
    )
    assert code == 0, err + out
    best = lab / "results" / "zoo" / "best.json"
    assert (best.parent / "report.html").exists()
    kind = str(family["weights"]).partition(":")[0]
    settings = json.loads(best.read_text())["objective"]["settings"]
    assert settings["weights"] == f"{kind}:{Path(family['weights']).name}"
    code, out, err = autonat("evaluate", best, "--images", 14, "--seeds", "1", "--lab", lab)
    assert code == 0, err
    assert "measured differently" not in err
    assert autonat("search", "--resume", "zoo", "--lab", lab, "--runner", "local")[0] == 0
