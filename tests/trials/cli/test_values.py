"""Every option and file value that is not what was said: one line that names it, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.schedules import STANDARD
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.cli.flags import read_bounds, read_nested
from trials.searches.reading import KINDS, read_settings

Autonat = Callable[..., tuple[int, str, str]]
HUGE = "9" * 400

SEARCHES = [
    # NAME=VALUE, read as YAML 1.2 and held against the class that takes it
    ("--set noise=", "objective simulated: noise: expected a number, got None"),
    ("--set noise=2024-01-02", "noise: expected a number, got '2024-01-02'"),
    ("--set noise=1e-4x", "noise: expected a number, got '1e-4x'"),
    ("--set noise=.nan", "noise = nan is not a JSON value"),
    ("--set noise=-1", "noise = -1 is not a finite number >= 0"),
    ("--set tokens=true", "tokens: expected a whole number, got True"),
    ("--set tokens=4.7", "tokens: expected a whole number, got 4.7"),
    ("--set tokens=0", "tokens = 0 is not positive"),
    (f"--set tokens={HUGE}", "the whole number '9999"),
    ("--set tokens=[", "--set tokens=[: not YAML (line 1: "),
    (f"--set tokens={'[' * 5000}", "it is nested too deeply"),
    ('--set tokens={"a":1,"a":2}', "line 1: the key 'a' occurs twice"),
    ("--set tokens", "--set: expected NAME=VALUE, got 'tokens'"),
    ("--set tokens=64 --set tokens=64", "--set: tokens is named twice"),
    ("--objective images --set features=5 --set reference=x", "features: expected a text"),
    ("--objective digits --set alpha=x", "alpha: expected a number, got 'x'"),
    ("--objective digits --set classes=no", "classes = 'no' is unknown"),
    (
        "--optimisers tpe --optimiser-settings tpe.max_in_flight=4.7",
        "optimiser tpe: max_in_flight: expected",
    ),
    (
        "--optimisers tpe --optimiser-settings tpe.common_random_numbers=maybe",
        "common_random_numbers: expected true or false, got 'maybe'",
    ),
    ("--optimiser-settings max_in_flight=4", "expected OPTIMISER.NAME=VALUE, got 'max_in_flight'"),
    ("--optimiser-settings tpe.max_in_flight=4 --optimiser-settings tpe.max_in_flight=4", "twice"),
    ("--optimiser-settings tpe.max_in_flight=4", "tpe is not an optimiser of this search"),
    # bounds
    ("--bounds remask_temperature=0.1:30:lgo", "expected the scale log, or none, got 'lgo'"),
    ("--bounds remask_temperature=0.1:30:LOG", "expected the scale log, or none, got 'LOG'"),
    ("--bounds remask_temperature=0.1:30:1", "expected the scale log, or none, got '1'"),
    ("--bounds remask_temperature=0.1:30:", "expected the scale log, or none, got ''"),
    ("--bounds remask_temperature=nan:30", "low: expected a finite number, got nan"),
    ("--bounds remask_temperature=0.1:1e400", "high: expected a finite number, got inf"),
    ("--bounds remask_temperature=0.1:1e300", "expected bounds with 0 <= low < high <= 1e+09"),
    ("--bounds mask_ratio=0:0.9 --bounds mask_ratio=0:0.9", "--bounds: mask_ratio is named twice"),
    ("--what training --training-start alpha=x", "training_start.alpha: expected a number"),
    ("--what training --training-start alpha=1e300", "alpha = 1e+300 is above 1e+09"),
    (
        "--what training --training-bounds alpha=1:3:lgo",
        "expected the scale log, or none, got 'lgo'",
    ),
    # T against L, before anything of size T is built
    ("--steps 1000000000", "T = 1000000000 steps, but a strategy has at most 4096"),
    ("--steps 1000000 --set tokens=2000000", "but a strategy has at most 4096"),
    # empty, twice, negative, huge
    ("--test-seeds=", "--test-seeds is empty"),
    ("--test-seeds 1,,2", "--test-seeds: expected whole numbers separated by commas, got '1,,2'"),
    ("--objective=", "--objective is empty"),
    ("--lab=", "--lab is empty"),
    ("--start=", "--start is empty"),
    ("--record-url=", "--record-url is empty"),
    ("--steps 4 --steps 8", "--steps is given 2 times"),
    ("--controls published --controls published", "'published' is named twice"),
    ("--frozen mask_ratio,mask_ratio", "'mask_ratio' is named twice"),
    ("--seed -1", "seed: expected a number of at least 0"),
    (f"--seed {HUGE}", "seed: expected a number below 2147483648, got 9999"),
    ("--budget 0", "budget: expected a number above 0"),
    (f"--budget {HUGE}", "budget: expected a number of at most 9223372036854775807"),
    ("--images-per-evaluation -1", "images_per_evaluation: expected a number above 0"),
    ("--test-images 0", "test_images: expected a number above 0"),
    ("--workers 0", "workers: expected a number above 0"),
    ("--gpus-per-trial nan", "gpus_per_trial: expected a finite number"),
    ("--gpus-per-trial inf", "gpus_per_trial: expected a finite number"),
    ("--gpus-per-trial -1", "gpus_per_trial: expected a number of at least 0"),
    ("--time-limit nan", "time_limit: expected a finite number"),
    ("--time-limit 0", "time_limit: expected a number above 0"),
    ("--max-forward-passes 0", "max_forward_passes: expected a number above 0"),
    ("--what both --rounds 0", "rounds: expected a number above 0"),
    ("--what nix", "what: expected one of generation, training, joint, both, got 'nix'"),
]

OTHERS = [
    ("demo --steps 1000000000", "but a strategy has at most 4096"),
    ("demo --budget -1", "budget: expected a number above 0"),
    ("evaluate F --images 0", "--images: expected a number of at least 1, got 0"),
    ("evaluate F --seeds=", "--seeds is empty"),
    ("evaluate F --seeds 1,1", "--seeds: 1 is named twice"),
    ("evaluate F --set noise=1 --set noise=2", "--set: noise is named twice"),
    ("evaluate F --set noise=maybe", "noise: expected a number, got 'maybe'"),
    ("show F --tokens 0", "--tokens: expected a number of at least 1, got 0"),
    ("show F --tokens few", "--tokens: expected a whole number, got 'few'"),
    ("show F --tokens 2", "T = 3 steps, but the image has only 2 tokens"),
    (f"show F --tokens {HUGE}", "--tokens: expected a number up to 9223372036854775807, got 9999"),
    ("sample F out.png --images 0", "--images: expected a number of at least 1, got 0"),
    (
        "sample F out.png --seed 4294967296",
        "--seed: expected a number of at most 4294967295, got 4294967296",
    ),
    ("transfer F --steps=", "--steps is empty"),
    ("transfer F --steps 4,x", "--steps: expected whole numbers separated by commas, got '4,x'"),
    ("transfer F --steps 0", "--steps: expected numbers above 0, got 0"),
    ("transfer F --steps 1000000000", "but the image has only 64 tokens"),
    ("transfer F --test-seeds=", "--test-seeds is empty"),
    ("transfer F --test-images 0", "--test-images: expected a number of at least 1, got 0"),
    ("transfer F --images 300", "--test-images is n of the final test"),
    ("transfer F --workers 2", "--workers are of the search that --refine asks for"),
    ("transfer F --refine 0", "budget: expected a number above 0"),
    (
        "train --objective digits --gpus-per-worker inf",
        "--gpus-per-worker: expected a finite number, got inf",
    ),
    (
        "train --objective digits --gpus-per-worker nan",
        "--gpus-per-worker: expected a number of at least 0, got 'nan'",
    ),
    ("train --objective digits --workers 0", "--workers: expected a number of at least 1, got 0"),
    ("train --objective digits --set width=2.5", "width: expected a whole number"),
    ("doctor --gpus-per-trial inf", "--gpus-per-trial: expected a finite number, got inf"),
    (
        "doctor --gpus-per-trial nan",
        "--gpus-per-trial: expected a number of at least 0, got 'nan'",
    ),
    ("tabulate a a --out x.parquet", "searches: 'a' is named twice"),
    ("compare a a", "searches: 'a' is named twice"),
    ("export a out.json --optimiser=", "--method is empty"),
    ("tokenize . --tokenizer patches --out= ", "--out is empty"),
    (
        "tokenize . --tokenizer patches --out x --workers -1",
        "--workers: expected a number of at least 0, got -1",
    ),
    (
        "statistics . --features pixels --out x.npz --side 0",
        "--side: expected a number of at least 1, got 0",
    ),
    ("embed . --encoder clip:x --tokens 0", "--tokens: expected a number of at least 1, got 0"),
]

STUDIES = [
    ("steps: 8\nseed: 1\nsteps: 4", "study.yaml: line 3: the key 'steps' occurs twice"),
    ("steps: true", "steps: expected a whole number, got True"),
    ("steps: 8.0", "steps: expected a whole number, got 8.0"),
    ("steps: '8'", "steps: expected a whole number, got '8'"),
    (f"steps: {HUGE}", "study.yaml: line 1: the whole number '9999"),
    ("steps: 2:3", "steps: expected a whole number, got '2:3'"),
    ("time_limit: .nan", "time_limit: expected a finite number, got nan"),
    *(
        (f"what: {what}\n{name}: yes", f"{name}: expected true or false, got 'yes'")
        for what, kind in KINDS.items()
        for name, field in kind.model_fields.items()
        if field.annotation is bool
    ),
    ("controls_first: 1", "controls_first: expected true or false, got 1"),
    ("fine_tune: maybe", "fine_tune = 'maybe' does not apply to what = generation"),
    ("fine_tune: 0", "fine_tune = 0 does not apply to what = generation"),
    ("what: [joint]", "what: expected one of generation, training, joint, both, got ['joint']"),
    ("objective_settings: [1]", "objective_settings: expected values by name, got [1]"),
    ("bounds: {mask_ratio: [0, 1]}", "bounds.mask_ratio: expected values by name"),
    ("bounds: {mask_ratio: {low: a, high: 1}}", "low: expected a number, got 'a'"),
    (
        "optimisers: [tpe]\noptimiser_settings: {tpe: {max_in_flight: yes}}",
        "max_in_flight: expected a whole number",
    ),
    (f"steps: {'[' * 5000}", "study.yaml: it is nested too deeply"),
    ("steps: &a [*a]", "steps: expected a whole number, or at least two for a series"),
]

STRATEGIES: list[tuple[str, Any, str]] = [
    ("guidance_scale", [1, 1, 1e300], "guidance_scale[2] = 1e+300 is above 1e+09"),
    ("guidance_scale", [1, 1, 10**18], "guidance_scale[2] = 1000000000000000000 is above 1e+09"),
    ("guidance_scale", [1, 1, int(HUGE)], "bad.json: the whole number '9999"),
    ("guidance_scale", [1, 1, float("inf")], "guidance_scale[2] = inf is not finite"),
    ("guidance_scale", [1, 1, True], "guidance_scale[2] = True is not a number"),
    ("guidance_scale", {"0": 1}, "guidance_scale: expected a list of numbers, got {'0': 1}"),
    ("guidance_floor", None, "guidance_floor = None is not a number"),
    ("sampling_temperature", [1.0] * 10**5, "100000 values, but a strategy has at most 4096 steps"),
]


def strategy_file(path: Path, **changed: Any) -> Path:
    objective = {
        "name": "simulated",
        "settings": {},
        "dataset": None,
        "checkpoint": None,
        "tokens": 64,
    }
    content = StrategyFile(GenerationStrategy.maskgit(3), objective=objective).to_json()
    content["generation"] |= changed
    path.write_text(json.dumps(content))
    return path


def one_line(code: int, out: str, err: str) -> str:
    assert code == 2
    assert out == ""
    *before, line = err.strip().splitlines()  # what was begun may be said before
    assert line.startswith("autonat: ")
    assert not any(text.startswith("autonat: ") for text in before)
    assert len(line) < 500
    return line


@pytest.mark.parametrize(("words", "line"), SEARCHES)
def test_a_search(autonat: Autonat, words: str, line: str) -> None:
    given = ["--objective", "simulated", *words.split()]
    given = given[2 * ("--objective" in words) :]
    assert line in one_line(*autonat("search", *given))
    assert not list(Path.cwd().glob("autonat-lab/results/*"))


@pytest.mark.parametrize(("words", "line"), OTHERS)
def test_another_command(autonat: Autonat, tmp_path: Path, words: str, line: str) -> None:
    file = strategy_file(tmp_path / "F.json")
    given = [str(file) if word == "F" else word for word in words.split()]
    assert line in one_line(*autonat(*given))


@pytest.mark.parametrize(("text", "line"), STUDIES)
@pytest.mark.parametrize("more", [(), ("--set", "a=1")])
def test_a_study_file(
    autonat: Autonat, tmp_path: Path, text: str, line: str, more: tuple[str, ...]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert line in one_line(*autonat("search", file, *more))


@pytest.mark.parametrize(("field", "value", "line"), STRATEGIES)
def test_a_strategy_file(
    autonat: Autonat, tmp_path: Path, field: str, value: Any, line: str
) -> None:
    file = strategy_file(tmp_path / "bad.json", **{field: value})
    assert line in one_line(*autonat("show", file))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "manual_cfg: [1e-4, 1]\nmanual_cfg: [1, 1]",
            "line 2: the key 'manual_cfg' occurs twice",
        ),
        (f"manual_cfg: {'[' * 5000}", "it is nested too deeply"),
        (f"manual_cfg: [{HUGE}]", "line 1: the whole number '9999"),
    ],
)
def test_a_public_file(autonat: Autonat, tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "public.yaml"
    file.write_text(text)
    assert line in one_line(*autonat("import", file, tmp_path / "out.json"))


def test_a_setting_in_a_strategy_file_that_is_not_finite(autonat: Autonat, tmp_path: Path) -> None:
    file = strategy_file(tmp_path / "bad.json")
    file.write_text(file.read_text().replace('"settings": {}', '"settings": {"noise": [NaN]}'))
    assert "objective.settings.noise[0] = nan is not finite" in one_line(*autonat("show", file))


def test_json_with_a_byte_order_mark(autonat: Autonat, tmp_path: Path) -> None:
    file = strategy_file(tmp_path / "bom.json")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert autonat("show", file)[0] == 0


def test_numbers_as_people_paste_them(autonat: Autonat, tmp_path: Path) -> None:
    file = tmp_path / "public.yaml"
    file.write_text(
        "manual_ratios: [4e-1]\nmanual_temp: [1e1]\nmanual_samp_temp: [1, 1.]\n"
        "manual_cfg: [1e-4, .5]\n"
    )
    assert autonat("import", file, tmp_path / "out.json")[0] == 0
    found = StrategyFile.read(tmp_path / "out.json").generation
    assert found.mask_ratio == (0.4,)
    assert found.remask_temperature == (10.0,)
    assert found.guidance_scale == (1e-4, 0.5)
    # A setting that is a number goes through to where its range is checked.
    said = one_line(*autonat("search", "--set", "noise=-1e-4", "--objective", "simulated"))
    assert "noise = -0.0001 is not a finite number >= 0" in said


def test_flags_are_laid_over_a_study_file_by_name(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "optimisers: [tpe, cmaes]\n"
        "optimiser_settings: {tpe: {max_in_flight: 2}, cmaes: {max_in_flight: 3}}\n"
        "bounds: {remask_temperature: {low: 0.1, high: 30, log: true}}\n"
    )
    flags = {
        "optimisers": ["tpe"],
        "optimiser_settings": read_nested(
            "--optimiser-settings", ["tpe.common_random_numbers=false"]
        ),
        "bounds": read_bounds("--bounds", ["guidance_scale=0:2"]),
    }
    found = read_settings(flags, file)
    assert found.optimiser_settings == {"tpe": {"max_in_flight": 2, "common_random_numbers": False}}
    assert {name: bound.log for name, bound in found.bounds.items()} == {
        "remask_temperature": True,
        "guidance_scale": False,
    }


@pytest.mark.parametrize("steps", [2, 200, 201, 1110, 4096])
def test_the_default_bounds_hold_the_default_start(steps: int) -> None:
    space = Space(GenerationStrategy.maskgit(steps))
    if steps <= 200:
        assert dict(space.bounds) == {
            name: schedule.bound(1) for name, schedule in STANDARD.items()
        }
