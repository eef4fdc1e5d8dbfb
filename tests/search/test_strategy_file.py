"""The strategy file: round trip, the published schema, and each bad input as one clear line."""

from __future__ import annotations

import copy
import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from search.strategy import GenerationStrategy, TrainingStrategy
from search.strategy_file import FinalTest, StrategyFile

SCHEMA = json.loads((files("search") / "strategy.schema.json").read_text())

FULL = StrategyFile(
    generation=GenerationStrategy.maskgit(4),
    training=TrainingStrategy("beta", 12, 3),
    objective={
        "name": "digits",
        "settings": {"width": 32},
        "dataset": "digits",
        "checkpoint": "sha256:00",
        "tokens": 64,
    },
    protocol={
        "features": "whitened pixels",
        "features_hash": "sha256:01",
        "resize": "none",
        "quantisation": "none",
        "reference_statistics_hash": "sha256:02",
        "classes": "equal numbers",
    },
    test=FinalTest.of({1: 4.0, 2: 5.0, 3: 6.0}, images=2000, forward_passes=8),
    search={
        "study": "digits-tpe",
        "optimiser": "tpe",
        "settings": {"max_in_flight": 4},
        "seed": 0,
        "space": {"frozen": []},
        "budget": {"images": 9000, "images_per_evaluation": 500},
        "spent": {"evaluations": 18, "images": 9000, "forward_passes": 72000},
        "fid": 4.9,
    },
    versions={"autonat": "0.1.0"},
    mlflow={"tracking_uri": "sqlite:///mlflow.db", "run_id": "abc"},
)
BARE = StrategyFile(GenerationStrategy.maskgit(1))


def full() -> dict[str, Any]:
    return copy.deepcopy(FULL.to_json())


def put(data: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split(".")
    part: Any = data
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[int(last) if isinstance(part, list) else last] = value
    return data


def refusal(tmp_path: Path, text: str) -> str:
    """The one line that says why a file with this text is refused; it begins with its name."""
    path = tmp_path / "strategy.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is what is returned
        StrategyFile.read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("content", [FULL, BARE], ids=["full", "bare"])
def test_round_trip(tmp_path: Path, content: StrategyFile) -> None:
    path = tmp_path / "strategy.json"
    content.write(path)
    assert StrategyFile.read(path) == content
    assert [*tmp_path.iterdir()] == [path]
    assert json.loads(path.read_text())["format"] == "autonat-strategy/1"


def test_the_last_digit_survives(tmp_path: Path) -> None:
    strategy = GenerationStrategy((0.1 + 0.2,), (1 / 3,), (math.pi, math.e), (2**0.5, 1e-17))
    StrategyFile(strategy).write(tmp_path / "strategy.json")
    assert StrategyFile.read(tmp_path / "strategy.json").generation == strategy


@pytest.mark.parametrize("content", [FULL, BARE], ids=["full", "bare"])
def test_published_schema_accepts_what_is_written(content: StrategyFile) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(content.to_json())), SCHEMA)


NESTED = ("generation", "training", "objective", "protocol", "test", "search", "mlflow")
EVERY_FIELD = [*FULL.to_json()] + [
    f"{part}.{name}" for part in NESTED for name in FULL.to_json()[part]
]


@pytest.mark.parametrize("field", EVERY_FIELD)
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    data = full()
    *parents, last = field.split(".")
    del (data[parents[0]] if parents else data)[last]
    assert repr(last) in refusal(tmp_path, json.dumps(data))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize("where", ["", *NESTED])
def test_an_unknown_field_is_named(tmp_path: Path, where: str) -> None:
    data = full()
    (data[where] if where else data)["colour"] = 1
    assert "has the unknown field 'colour'" in refusal(tmp_path, json.dumps(data))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


BAD_VALUES = [
    ("format", "autonat-strategy/2", "format = 'autonat-strategy/2' is unknown"),
    ("format", 1, "format = 1 is unknown"),
    ("generation", [], "generation must be an object"),
    ("generation.mask_ratio.1", 1.0, "mask_ratio[1] = 1.0 is outside [0, 1)"),
    ("generation.mask_ratio.1", -0.5, "mask_ratio[1] = -0.5 is outside [0, 1)"),
    ("generation.mask_ratio", 0.5, "mask_ratio must be a list"),
    ("generation.remask_temperature.0", -1, "remask_temperature[0] = -1 is negative"),
    ("generation.sampling_temperature.3", -0.1, "sampling_temperature[3] = -0.1 is negative"),
    ("generation.guidance_scale.2", -2.0, "guidance_scale[2] = -2.0 is negative"),
    ("generation.guidance_scale.2", "1", "guidance_scale[2] = '1' is not a number"),
    ("generation.guidance_floor", -1.0, "guidance_floor = -1.0 is negative"),
    ("generation.steps", 0, "generation.steps = 0"),
    ("training.mask_ratio_distribution", "uniform", "'uniform' is unknown"),
    ("training.alpha", 0, "alpha = 0"),
    ("training", "cosine", "training must be an object"),
    ("objective.tokens", 0, "objective.tokens = 0"),
    ("objective.tokens", "64", "objective.tokens = '64'"),
    ("objective.name", 3, "objective.name = 3"),
    ("objective.settings", [], "objective.settings = []"),
    ("test.fid", "4.9", "test.fid = '4.9' is not a finite number"),
    ("test.fid_se", -0.1, "test.fid_se = -0.1"),
    ("test.fids", 4.9, "test.fids = 4.9 is not a list"),
    ("test.seeds.0", -1, "test.seeds[0] = -1"),
    ("test.images", 0, "test.images = 0"),
    ("test.images", 2.5, "test.images = 2.5"),
    ("versions", {"autonat": 1}, "versions"),
]
"""What both the reader and the schema refuse."""


@pytest.mark.parametrize(("field", "value", "line"), BAD_VALUES)
def test_a_bad_value_is_named(tmp_path: Path, field: str, value: object, line: str) -> None:
    data = put(full(), field, value)
    assert line in refusal(tmp_path, json.dumps(data))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("generation.mask_ratio", [0.5, 0.4], "mask_ratio has 2 values"),
        ("generation.guidance_scale", [0.5] * 5, "guidance_scale has 5 values"),
        ("generation.steps", 5, "generation.steps = 5, but sampling_temperature has 4"),
        ("generation.mask_ratio.0", math.nan, "mask_ratio[0] = nan is not finite"),
        ("generation.guidance_scale.0", math.inf, "guidance_scale[0] = inf is not finite"),
        ("generation.steps", 4.5, "generation.steps = 4.5"),
        ("generation.steps", 4.0, "generation.steps = 4.0"),
        ("generation.steps", True, "generation.steps = True"),
        ("objective.tokens", 3, "T = 4 steps, but the image has only 3 tokens"),
        ("objective.tokens", True, "objective.tokens = True"),
        ("test.fid", math.nan, "test.fid = nan is not a finite number"),
        ("test.fids.1", math.inf, "test.fids[1] = inf is not a finite number"),
        ("test.fids", [4.0], "test.fids has 1 values for 3 seeds"),
        ("test.forward_passes", 7, "test.forward_passes = 7, but the generation strategy takes 8"),
        ("test.fid_se", False, "test.fid_se = False"),
    ],
)
def test_what_only_the_reader_sees(tmp_path: Path, field: str, value: object, line: str) -> None:
    assert line in refusal(tmp_path, json.dumps(put(full(), field, value)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "the strategy file must be an object"),
        ("null", "the strategy file must be an object"),
        ("{}", "lacks the field 'format'"),
    ],
)
def test_other_files(tmp_path: Path, text: str, line: str) -> None:
    assert line in refusal(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: No such file"):
        StrategyFile.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="Is a directory"):
        StrategyFile.read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="not JSON"):
        StrategyFile.read(tmp_path / "bytes")


def test_ratios_that_do_not_fall_are_legal(tmp_path: Path) -> None:
    data = put(full(), "generation.mask_ratio", [0.3, 0.5, 0.5])
    (tmp_path / "strategy.json").write_text(json.dumps(data))
    found = StrategyFile.read(tmp_path / "strategy.json")
    assert found.generation.masked_counts(64) == (19, 18, 17, 0)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "strategy.json"
    BARE.write(path)
    before = path.read_bytes()
    bad = StrategyFile(GenerationStrategy.maskgit(1), search={"fid": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        bad.write(path)
    assert path.read_bytes() == before


def test_final_test_states_mean_and_error() -> None:
    test = FinalTest.of({5: 4.0, 6: 5.0, 9: 6.0}, images=2000, forward_passes=8)
    assert test.fid == 5.0
    assert test.fid_se == pytest.approx(1 / math.sqrt(3))
    assert test.seeds == (5, 6, 9)
    assert test.fids == (4.0, 5.0, 6.0)
    assert FinalTest.of({5: 4.0}, images=2000, forward_passes=8).fid_se is None
    with pytest.raises(ValueError, match="is not a finite number"):
        FinalTest.of({5: math.nan}, images=2000, forward_passes=8)
