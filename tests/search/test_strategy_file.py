from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import search
from search.final_test import Control, FinalTest
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.strategy_text import EXTRA_FIELDS
from search.training_strategy import TrainingStrategy

LATER = ("baseline", "best_control")
FILES = Path(__file__).parent / "files"
SCHEMA_1 = json.loads((Path(search.__path__[0]) / "strategy.schema.1.json").read_text())
SCHEMA = json.loads((Path(search.__path__[0]) / "strategy.schema.json").read_text())


def full() -> StrategyFile:
    generation = GenerationStrategy.maskgit(4)
    return StrategyFile(
        generation=generation,
        training=TrainingStrategy("beta", {"alpha": 12, "beta": 3}),
        objective={
            "name": "digits",
            "settings": {"width": 32, "reference": "real.npz", "table": "mine.parquet"},
            "files": {"reference": "sha256:03", "table": None},
            "dataset": "digits",
            "flops": {"pass": 1000, "decode": 10},
            "checkpoint": "sha256:00",
            "tokens": 64,
        },
        protocol={
            "metric": "fid",
            "features": "pixels",
            "features_hash": "sha256:01",
            "resize": None,
            "quantisation": "none",
            "reference_statistics_hash": "sha256:02",
            "classes": "equal numbers",
            "precision": "tokens float32; pixels default; features default",
        },
        test=FinalTest.of({1: 5.0, 2: 6.0, 3: 7.0}, 1000, generation.forward_passes()),
        baseline=Control("rule of thumb", FinalTest.of({1: 8.0, 2: 9.0, 3: 7.5}, 1000, 8)),
        best_control=Control("random order", FinalTest.of({1: 6.0, 2: 6.5, 3: 7.0}, 1000, 4)),
        search={
            "study": "s",
            "optimiser": "tpe",
            "settings": {"max_in_flight": 4},
            "seed": 0,
            "space": {},
            "budget": {"images": 100, "images_per_evaluation": 10},
            "spent": {"evaluations": 10, "images": 100, "forward_passes": 800},
            "value": 4.5,
        },
        versions={"autonat": "0.1.0"},
        mlflow={"tracking_uri": "sqlite:///x", "run_id": None},
        date="2026-11-26",
    )


@pytest.mark.parametrize("file", [full(), StrategyFile(GenerationStrategy.maskgit(1))])
def test_round_trip_and_published_schema(tmp_path: Path, file: StrategyFile) -> None:
    path = tmp_path / "strategy.json"
    file.write(path)
    assert StrategyFile.read(path) == file
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)
    assert [p.name for p in tmp_path.iterdir()] == ["strategy.json"]


def test_final_test_is_the_mean_with_its_standard_error() -> None:
    test = FinalTest.of({1: 5.0, 2: 6.0, 3: 7.0}, 1000, 8)
    assert test.value == 6.0
    assert test.standard_error == pytest.approx(1 / 3**0.5)
    assert test.standard_error_from == "seeds"
    assert FinalTest.of({1: 5.0, 2: 6.0, 3: 7.0}, 1000, 8, 0.2) == test


def test_one_seed_has_the_error_that_its_measurement_states() -> None:
    test = FinalTest.of({9: 5.0}, 1000, 8, 0.2)
    assert (test.value, test.standard_error, test.standard_error_from) == (5.0, 0.2, "measurement")
    silent = FinalTest.of({9: 5.0}, 1000, 8)
    assert (silent.standard_error, silent.standard_error_from) == (None, None)


NAN = float("nan")
BAD: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("format",), "autonat-strategy/3", "format = 'autonat-strategy/3' is unknown"),
    (("generation", "token_order"), "hilbert", "token_order = 'hilbert' is unknown; known: conf"),
    (("generation", "confidence"), None, "confidence = None is unknown; known: log_probability"),
    (("test", "metric"), 3, "test.metric = 3 is not the name of a metric"),
    (("generation", "steps"), 5, "generation.steps = 5"),
    (("generation", "steps"), 4.5, "generation.steps = 4.5"),
    (("generation", "mask_ratio", 1), NAN, "mask_ratio[1] = nan is not finite"),
    (("generation", "mask_ratio", 1), 1, "mask_ratio[1] = 1.0 is outside [0, 1)"),
    (("generation", "mask_ratio", 1), True, "mask_ratio[1] = True is not a number"),
    (("generation", "mask_ratio"), "abc", "mask_ratio: expected a list of numbers, got 'abc'"),
    (("generation", "remask_temperature", 0), -0.5, "remask_temperature[0] = -0.5 is negative"),
    (("generation", "guidance_scale", 0), float("inf"), "guidance_scale[0] = inf is not finite"),
    (("generation", "sampling_temperature"), [1.0], "mask_ratio has 3 values"),
    (("generation", "guidance_floor"), -1, "guidance_floor = -1 is negative"),
    (("generation",), None, "generation: expected an object"),
    (("training", "alpha"), 0, "alpha = 0"),
    (("training", "alpha"), None, "the beta distribution needs alpha"),
    (("training", "surprise"), 1, "surprise = 1 is not a parameter of the beta distribution"),
    (("training", "mask_ratio_distribution"), "normal", "'normal' is unknown"),
    (("objective", "tokens"), 3, "T = 4 steps, but the image has only 3 tokens"),
    (("objective", "tokens"), "64", "objective.tokens = '64'"),
    (("objective", "settings"), [], "objective.settings = []"),
    (("objective", "files"), [], "objective.files = [] is not an object"),
    (("objective", "files", "table"), 3, "objective.files.table = 3 is not a hash"),
    (("objective", "files"), {"width": None}, "objective.files.width: expected a setting with the"),
    (("test", "value"), NAN, "test.value = nan"),
    (("test", "standard_error"), -0.1, "test.standard_error = -0.1 is not a finite number >= 0"),
    (("test", "standard_error"), False, "test.standard_error = False"),
    (("test", "standard_error"), "", "test.standard_error = ''"),
    (("test", "values"), [1.0], "expected one value in test.values for each of the 3 seeds, got 1"),
    (("test", "seeds", 0), -1, "test.seeds[0] = -1"),
    (("test", "seeds"), [1, 1, 2], "test.seeds: 1 is named twice"),
    (("test", "value"), 1.0, "test.value = 1.0 is not the mean of test.values, which is "),
    (("test", "images"), 0, "test.images = 0"),
    (
        ("test", "forward_passes"),
        7,
        "test.forward_passes: expected 8, as the generation strategy takes, got 7",
    ),
    (("baseline", "name"), 3, "baseline.name = 3 is not a string"),
    (
        ("best_control", "test", "value"),
        NAN,
        "best_control.test.value = nan is not a finite",
    ),
    (("best_control", "test", "seeds"), "1", "best_control.test.seeds = '1' is not a list"),
    (("best_control",), "random order", "best_control: expected an object"),
    (("versions",), ["a"], "versions: expected strings by package name"),
]


@pytest.mark.parametrize(("where", "value", "line"), BAD)
def test_a_field_that_is_not_valid_is_named_with_its_value(
    tmp_path: Path, where: tuple[str | int, ...], value: Any, line: str
) -> None:
    content: Any = full().to_json()
    part = content
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        StrategyFile.read(path)
    assert line in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [None, "generation", "objective", "protocol", "test"])
def test_every_field_is_required_and_no_other_is_known(part: str | None) -> None:
    whole = full().to_json()
    later = {*EXTRA_FIELDS, "date", "files", "precision"}
    for name in {*(whole if part is None else whole[part])} - later:
        content = copy.deepcopy(whole)
        del (content if part is None else content[part])[name]
        with pytest.raises(ValueError, match=f"lacks the field '{name}'"):
            StrategyFile.from_json(content)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, SCHEMA)
    (whole if part is None else whole[part])["surprise"] = 1
    with pytest.raises(ValueError, match="unknown field 'surprise'"):
        StrategyFile.from_json(whole)


def test_a_file_from_before_precisions_has_that_of_its_tokens() -> None:
    content = full().to_json()
    del content["protocol"]["precision"]
    jsonschema.validate(content, SCHEMA)
    found = StrategyFile.from_json(content).protocol or {}
    assert found["precision"] == "tokens float32; pixels default; features default"
    content["objective"]["settings"]["precision"] = "bfloat16"
    found = StrategyFile.from_json(content).protocol or {}
    assert found["precision"] == "tokens bfloat16; pixels default; features default"


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udcff"])
def test_a_file_that_is_no_strategy_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="bad.json: "):
        StrategyFile.read(path)


def test_an_image_costs_its_passes_and_its_decoding() -> None:
    file = full()
    assert file.image_flops() == 8 * 1000 + 10
    content = file.to_json()
    content["objective"]["flops"] = {"pass": -1, "decode": 0}
    with pytest.raises(ValueError, match=r"objective.flops.pass = -1 is not an integer >= 0"):
        StrategyFile.from_json(content)


def first_format() -> dict[str, Any]:
    """What autonat 0.1 wrote."""
    return json.loads((FILES / "strategy-1.json").read_text())  # type: ignore[no-any-return]


def test_a_file_of_the_first_format_is_read() -> None:
    content = first_format()
    jsonschema.validate(content, SCHEMA_1)
    file = StrategyFile.from_json(content)
    assert file.generation.to_json() == content["generation"]
    assert file.generation.choices() == {
        "token_order": "confidence",
        "confidence": "log_probability",
    }
    assert file.test is not None
    assert file.best_control is not None
    assert file.search is not None
    told = content["test"]
    assert (file.test.metric, file.test.value) == ("fid", told["fid"])
    assert (file.test.standard_error, list(file.test.values)) == (told["fid_se"], told["fids"])
    assert file.best_control.test.value == content["best_control"]["test"]["fid"]
    assert file.search["value"] == content["search"]["fid"]
    jsonschema.validate(file.to_json(), SCHEMA)
    assert StrategyFile.from_json(file.to_json()) == file


def test_the_very_first_files_lack_what_came_later() -> None:
    older = first_format()
    whole = StrategyFile.from_json(older)
    for name in LATER:
        del older[name]
    del older["objective"]["flops"]
    jsonschema.validate(older, SCHEMA_1)
    file = StrategyFile.from_json(older)
    assert (file.baseline, file.best_control, file.image_flops()) == (None, None, None)
    assert (file.generation, file.test) == (whole.generation, whole.test)


@pytest.mark.parametrize(
    ("where", "value", "line"),
    [
        (
            ("generation", "token_order"),
            "halton",
            "generation has the field 'token_order', which autonat-strategy/1",
        ),
        (("generation", "mask_ratio", 0), 1, "mask_ratio[0] = 1.0 is outside [0, 1)"),
        (("generation",), None, "generation: expected an object"),
        (("test", "value"), 1.0, "test has the unknown field 'value'"),
        (("test", "fid"), NAN, "test.value = nan is not a finite number"),
        (("best_control", "test"), [], "test: expected an object, got []"),
        (("best_control",), 3, "best_control: expected an object"),
        (("objective",), 3, "objective: expected an object"),
        (("surprise",), 3, "unknown field 'surprise'"),
    ],
)
def test_what_is_not_valid_in_the_first_format_is_named(
    where: tuple[str | int, ...], value: Any, line: str
) -> None:
    content: Any = first_format()
    part = content
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        StrategyFile.from_json(content)
    assert line in str(caught.value)


def test_true_is_no_number_of_steps() -> None:
    content = StrategyFile(GenerationStrategy.maskgit(1)).to_json()
    content["generation"]["steps"] = True
    with pytest.raises(ValueError, match="generation.steps = True"):
        StrategyFile.from_json(content)


def test_ratios_that_do_not_fall_are_legal() -> None:
    content = StrategyFile(GenerationStrategy.maskgit(4)).to_json()
    content["generation"]["mask_ratio"] = [0.3, 0.5, 0.5]
    generation = StrategyFile.from_json(content).generation
    assert generation.masked_counts(64) == (19, 18, 17, 0)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "strategy.json"
    full().write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        StrategyFile(GenerationStrategy.maskgit(1), search={"value": NAN}).write(path)
    assert path.read_bytes() == before


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none.json: No such file"):
        StrategyFile.read(tmp_path / "none.json")


def test_a_file_says_what_it_is_and_has_a_list_a_line(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    full().write(path)
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["$schema"] == SCHEMA["$id"]
    assert content["about"] == (
        "A generation strategy of a masked image generator, T = 4, found by tpe; FID 6 ± 0.58 on "
        "digits, the mean over 3 seeds of 1,000 images each; rule of thumb has FID 8.167 ± 0.44; "
        "random order has FID 6.5 ± 0.29. Lower is better."
    )
    assert content["masked_tokens"] == [59, 45, 24, 0]
    assert full().test is not None
    once = dataclasses.replace(full().test, seeds=(1,), values=(6.0,), value=6.0)
    said = dataclasses.replace(full(), test=once).to_json()["about"]
    assert "on digits, with 1,000 images; rule of thumb" in said
    assert '"seeds": [1, 2, 3],\n' in text
    assert "6 ± 0.58" in text  # as it is read, not escaped
    assert "test.value is" in content["search"]["value_means"]
    assert "with 10 images for each evaluation" in content["search"]["value_means"]


def test_a_file_without_the_extra_fields_is_read() -> None:
    content = full().to_json()
    del content["search"]["value_means"]
    for name in (*EXTRA_FIELDS, "date"):
        del content[name]
    jsonschema.validate(content, SCHEMA)
    assert StrategyFile.from_json(content) == dataclasses.replace(full(), date=None)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        (
            "masked_tokens",
            [1, 2, 3, 0],
            "expected [59, 45, 24, 0], got [1, 2, 3, 0]",
        ),
        ("date", "tomorrow", "date = 'tomorrow' is not a day such as 2026-11-26"),
        ("date", 3, "date = 3 is not a day"),
    ],
)
def test_extra_fields_that_are_not_valid_are_named(field: str, value: Any, line: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        StrategyFile.from_json(full().to_json() | {field: value})
    assert line in str(caught.value)


def test_passes_that_counted_remainders_of_rounding_are_read() -> None:
    left = GenerationStrategy.maskgit(4).with_values({"guidance_scale": (0.0, 2e-16, 0.0, 1.0)})
    for passes in (5, 6):
        test = FinalTest.of({1: 5.0, 2: 6.0}, 1000, passes)
        assert StrategyFile(generation=left, test=test).test == test
    with pytest.raises(ValueError, match="test.forward_passes: expected 5, as the generation"):
        StrategyFile(generation=left, test=FinalTest.of({1: 5.0, 2: 6.0}, 1000, 7))
