from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
import yaml
from mlflow.tracking import MlflowClient

from search.final_test import Control
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from tests.options import SMALL, laid_over
from trials.lab import Lab
from trials.objectives import measured
from trials.record.record import Record
from trials.record.studies import study_names

Autonat = Callable[..., tuple[int, str, str]]


def small(*words: str) -> list[str]:
    """SMALL with other values of some options."""
    return laid_over(SMALL, *words)


def written(path: Path, **changed: Any) -> Path:
    objective = {
        "name": "simulated",
        "settings": {},
        "dataset": None,
        "checkpoint": None,
        "tokens": 64,
    }
    content = StrategyFile(GenerationStrategy.maskgit(3), objective=objective).to_json()
    content["generation"] |= {k: v for k, v in changed.items() if k in content["generation"]}
    content |= {k: v for k, v in changed.items() if k in content}
    for key in changed.get("without", ()):
        del content["generation"][key]
    path.write_text(json.dumps(content))
    return path


def one_line(code: int, out: str, err: str) -> str:
    assert code == 2
    assert out == ""
    *before, line = err.strip().splitlines()  # what was begun may be said before
    assert line.startswith("autonat: ")
    assert not any(text.startswith("autonat: ") for text in before)
    return line


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"without": ["mask_ratio"]}, "generation lacks the field 'mask_ratio'"),
        ({"mask_ratio": [0.5]}, "mask_ratio has 1 values"),
        ({"mask_ratio": [0.5, float("nan")]}, "mask_ratio[1] = nan is not finite"),
        ({"mask_ratio": [1.0, 0.5]}, "mask_ratio[0] = 1.0 is outside [0, 1)"),
        ({"mask_ratio": [-0.1, 0.5]}, "mask_ratio[0] = -0.1 is outside [0, 1)"),
        ({"remask_temperature": [-1, 1]}, "remask_temperature[0] = -1 is negative"),
        ({"guidance_scale": [1, 1, -2]}, "guidance_scale[2] = -2 is negative"),
        ({"sampling_temperature": []}, "sampling_temperature is empty"),
        ({"steps": 4}, "generation.steps = 4"),
        ({"format": "autonat-strategy/9"}, "format = 'autonat-strategy/9' is unknown"),
    ],
)
@pytest.mark.parametrize("command", ["show", "evaluate"])
def test_a_strategy_file_that_is_not_valid(
    autonat: Autonat, tmp_path: Path, command: str, changed: dict[str, Any], line: str
) -> None:
    file = written(tmp_path / "bad.json", **changed)
    assert line in one_line(*autonat(command, file))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--steps 0", "--steps: expected numbers above 0, got 0"),
        ("--steps 65", "T = 65 steps, but the image has only 64 tokens"),
        (
            "--objective nothing",
            "objective = 'nothing' is unknown; known: digits, letters, images, simulated",
        ),
        ("--objective no:Thing", "objective no:Thing: No module named 'no'"),
        ("--optimiser nothing", "unknown optimiser 'nothing'; known: coarse-to-fine"),
        ("--optimiser-set tpe.nothing=1", "optimiser tpe has no setting 'nothing'"),
        ("--optimiser-set tpe.max_in_flight=0", "max_in_flight = 0 is not positive"),
        ("--control nothing", "unknown control 'nothing'"),
        ("--freeze nothing", "unknown schedule 'nothing'"),
        (
            "--bounds mask_ratio=0.5",
            "--bounds: expected NAME=LOW:HIGH or NAME=LOW:HIGH:log, got mask_ratio=0.5",
        ),
        ("--bounds guidance_scale=2:3", "guidance_scale_0 = 0.5 is outside its bounds"),
        ("--budget 50", "budget = 50 images is less than one evaluation of 100"),
        ("--optimiser autonat-reference --budget 300", "less than one step of AutoNAT's search"),
        ("--test-seeds 1,1", "--test-seeds: 1 is named twice"),
        ("--test-seeds 4294967295", "--test-seeds: expected seeds in [0, 2**31), got 4294967295"),
        ("--max-forward-passes 1", "max_forward_passes = 1, but T = 2 steps needs 2"),
        ("--max-forward-passes 2 --freeze guidance_scale", "the frozen guidance_scale needs 4"),
        ("--optimiser nsgaii-passes --freeze guidance_scale", "guidance_scale may reach 0"),
        (
            "--objective digits --images 74",
            "74 images are too few for the metric fid: with 74 features an image it needs",
        ),
        ("--objective digits --test-images 10", "10 images are too few"),
        ("--objective tabulated", "table digits-T8 is of T = 8 steps, not 2"),
        (
            "--objective tabulated --steps 8 --bounds remask_temperature=0.001:30:log",
            "has remask_temperature in [0.01, 30] log, not in [0.001, 30] log",
        ),
        ("--objective tabulated --set table=nix", "table nix is unknown; known: digits-T8"),
        ("--objective tabulated --set table=nix.parquet", "table nix.parquet: "),
        ("--objective tabulated --set table=5", "table: expected a text, got 5"),
        ("--scheduler asha", "scheduler asha: expected runner = ray, which has it, got local"),
        ("--scheduler hyperband", "scheduler: expected 'asha'"),
        ("--workers 0", "workers: expected a number above 0"),
        ("--runner slurm", "runner: expected 'ray' or 'local'"),
        ("--lab /proc/nowhere", "lab /proc/nowhere: "),
        ("--resume nothing", "no search 'nothing' in sqlite"),
        (f"--name {'a' * 101}", "expected at most 100 letters, got 101"),
        ("--name ../x", "name = '../x' is not a valid name of a search: expected the letters"),
        ("--record-url sqlite:///:memory:", "a database in memory is lost when the command ends"),
        ("--record-url sqlite:///x.db --tracking-uri sqlite:///./x.db", "would hold both the rec"),
    ],
)
def test_a_search_that_cannot_be(autonat: Autonat, words: str, line: str) -> None:
    given = words.split()
    given = given if "--resume" in given else small(*given)
    assert line in one_line(*autonat("search", *given))
    for record in Path.cwd().glob("autonat-lab/record.db"):
        assert study_names(f"sqlite:///{record}") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("steps: [", "study.yaml: not YAML (line 1: "),
        ("- 1", "study.yaml: expected settings by name, got [1]"),
        ("stepps: 3", "stepps: unknown (did you mean steps?); known: what, name, objective, "),
        ("steps: many", "steps: expected a whole number"),
    ],
)
def test_a_study_file_that_is_not_valid(
    autonat: Autonat, tmp_path: Path, text: str, line: str
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert line in one_line(*autonat("search", file))


def test_record_mlflow_and_files_hold_the_same(searched: Path) -> None:
    lab = Lab.open(searched)
    assert study_names(lab.record_url) == ["small-random", "small-test", "small-tpe"]
    client = MlflowClient(lab.tracking_uri)
    experiment = client.get_experiment_by_name("autonat evaluations")
    assert experiment is not None
    for name in study_names(lab.record_url):
        study = optuna.load_study(study_name=name, storage=lab.record_url)
        query = f"tags.`autonat.study_id` = '{study.user_attrs['study_id']}'"
        runs = client.search_runs([experiment.experiment_id], query)
        children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
        assert len(children) == len(study.trials) > 0
        by_probe = {int(r.data.tags["autonat.probe"]): r for r in children}
        for trial in study.trials:
            run = by_probe[trial.user_attrs["probe"]]
            assert run.data.metrics["fid"] == trial.value
            text = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/strategy.json")
            assert text == trial.user_attrs["strategy"]
            assert GenerationStrategy.from_json(text).parameters() == trial.params
    best = StrategyFile.read(searched / "results" / "small" / "best.json")
    assert best.mlflow is not None
    parent = client.get_run(str(best.mlflow["run_id"]))
    assert best.test is not None
    assert parent.data.metrics["test_fid"] == best.test.value
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "settings.json"} <= names


def test_best_json_is_reproduced_to_the_last_digit(autonat: Autonat, searched: Path) -> None:
    file = searched / "results" / "small" / "best.json"
    test = StrategyFile.read(file).test
    assert test is not None
    code, out, _ = autonat("evaluate", file, "--lab", searched, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["fids"] == list(test.values)
    assert found["fid"] == test.value
    assert {"fid_se", "images", "forward_passes", "protocol"} <= set(found)
    code, out, _ = autonat(
        "evaluate", file, "--lab", searched, "--images", 300, "--seeds", "4,5", "--json"
    )
    assert json.loads(out)["seeds"] == [4, 5]
    assert json.loads(out)["fids"] != list(test.values)[:2]


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_front_is_measured_on_unseen_seeds(
    autonat: Autonat, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = autonat("front", "small", "--lab", searched, "--images", 5000, "--json")
    assert code == 0
    found = json.loads(out)["front"]
    passes = [point["forward_passes"] for point in found]
    assert passes == sorted(set(passes))
    assert all(2 <= p <= 4 for p in passes)
    fids = [point["fid"] for point in found]
    assert fids == sorted(fids, reverse=True)
    assert {point["found_by"] for point in found} <= {"random", "tpe", "rule of thumb"}
    assert all((point["search_fid"] is not None) == point["searched"] for point in found)
    assert autonat("front", "small", "--lab", searched)[0] == 0
    with monkeypatch.context() as patch:  # before there is any point of it
        patch.setattr(measured, "replicate", interrupt)
        code, out, err = autonat("front", "small", "--lab", searched, "--seeds", 9)
        assert (code, out, err.splitlines()[-1]) == (130, "", "autonat: interrupted")
    line = one_line(*autonat("front", "small", "--lab", searched, "--images", 0))
    assert "--images: expected a number of at least 1, got 0" in line


def test_a_table_is_made_and_searched(
    autonat: Autonat, searched: Path, small_table: Path, tmp_path: Path
) -> None:
    table = tmp_path / "small.parquet"
    line = one_line(*autonat("tabulate", "small", "--lab", searched, "--out", table))
    assert "expected at least 50 evaluations with the same n for a table, got 16 of 16" in line
    line = one_line(*autonat("tabulate", "small", "--lab", searched, "--out", "small.csv"))
    assert "--out: expected a name that ends in .parquet" in line
    code, out, _ = autonat("tabulate", "small", "--lab", small_table.parent, "--out", table)
    assert (code, out.split()[1:]) == (0, ["150", "evaluations"])
    words = "--objective tabulated --steps 4 --runner local --budget 2000 --images 200 --json"
    words += f" --test-images 500 --set table={table}"
    code, out, _ = autonat("search", *words.split())
    assert code == 0
    rows = {row["method"]: row for row in json.loads(out)["results"]}
    assert set(rows) == {"coarse-to-fine", "rule of thumb", "more remask noise"}
    assert rows["coarse-to-fine"]["fid"] < rows["rule of thumb"]["fid"]


def test_the_table_and_the_other_commands(autonat: Autonat, searched: Path, tmp_path: Path) -> None:
    code, out, _ = autonat("compare", "small", "--lab", searched, "--json")
    assert code == 0
    methods = {row["method"]: row for row in json.loads(out)["results"]}
    assert set(methods) == {"random", "tpe", "rule of thumb"}
    assert methods["tpe"]["images"] == methods["random"]["images"] == 800
    assert autonat("compare", "small", "--lab", searched)[0] == 0
    code, _, _ = autonat("export", "small", tmp_path / "out.yaml", "--lab", searched)
    assert code == 0
    assert set(yaml.safe_load((tmp_path / "out.yaml").read_text())) == {
        "manual_ratios",
        "manual_temp",
        "manual_samp_temp",
        "manual_cfg",
    }
    words = ("export", "small", tmp_path / "rule.json", "--lab", searched, "--method")
    assert "'nix'; known: best, random, rule-of-thumb, tpe" in one_line(*autonat(*words, "nix"))
    other = autonat("export", "nix", tmp_path / "nix.json", "--lab", searched)
    assert f"'nix' is no search with results in {searched}; autonat list" in one_line(*other)
    assert autonat(*words, "rule of thumb")[0] == 0
    rule = StrategyFile.read(tmp_path / "rule.json")
    assert rule.generation == GenerationStrategy.maskgit(2)
    assert rule.search is None
    assert rule.test is not None
    assert rule.test.value == methods["rule of thumb"]["fid"]
    assert autonat("import", tmp_path / "out.yaml", tmp_path / "again.json")[0] == 0
    exported = StrategyFile.read(tmp_path / "again.json").generation
    file = StrategyFile.read(searched / "results" / "small" / "best.json")
    assert file.best_control == file.baseline == Control("rule of thumb", rule.test)
    best = file.generation
    assert dataclasses.replace(exported, guidance_floor=best.guidance_floor) == best
    code, out, _ = autonat("show", searched / "results" / "small" / "best.json")
    assert code == 0
    assert "masked of 64" in out
    assert "the best control in the same test, rule of thumb: FID" in out
    assert autonat("report", "small", "--lab", searched)[0] == 0
    code, out, _ = autonat("sync", "--lab", searched)
    assert out.startswith("0 evaluations added")
    assert "lacks the method sample" in one_line(
        *autonat("sample", tmp_path / "again.json", "x.png", "--objective", "simulated")
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--steps 3", "steps = 2, not 3"),
        ("--set noise=0.5", "objective_settings"),
        ("--objective digits", "objective = 'simulated', not 'digits'"),
        ("--freeze mask_ratio", "frozen = [], not ['mask_ratio']"),
    ],
)
def test_a_search_resumed_as_another_says_what_differs(
    autonat: Autonat, searched: Path, words: str, line: str
) -> None:
    said = one_line(*autonat("search", "--resume", "small", "--lab", searched, *words.split()))
    assert "search small was made with" in said
    assert line in said


def test_a_finished_search_is_not_begun_again_but_can_be_resumed(
    autonat: Autonat, searched: Path
) -> None:
    said = one_line(*autonat("search", *SMALL, "--lab", searched))
    assert "search small exists already, with the studies small-" in said
    assert "--resume small continues it, another name starts" in said
    before = Record.open(Lab.open(searched).record_url, "small-tpe").evaluations
    code, _, _ = autonat("search", "--resume", "small", "--lab", searched, "--workers", 1)
    assert code == 0
    assert Record.open(Lab.open(searched).record_url, "small-tpe").evaluations == before


@pytest.mark.long
def test_a_search_runs_on_without_its_tracking_server_and_sync_completes_it(
    autonat: Autonat, tmp_path: Path
) -> None:
    lab = tmp_path / "lab"
    away = ["--lab", lab, "--tracking-uri", "http://127.0.0.1:9"]
    code, out, err = autonat("search", *SMALL, *away)
    assert code == 0
    assert "the search continues" in err
    assert "25 evaluations behind" in err
    assert StrategyFile.read(lab / "results" / "small" / "best.json").test is not None
    code, out, _ = autonat("sync", "--lab", lab)
    assert code == 0
    assert out.startswith("25 evaluations added")


def test_a_folder_of_a_searchs_name_is_no_strategy_file(autonat: Autonat) -> None:
    Path("nix").mkdir()
    assert "no search 'nix' in sqlite" in one_line(*autonat("show", "nix"))


@pytest.mark.parametrize(
    "words",
    [
        "export nix out.json",
        "export ../../x out.json",
        "show nix",
        "report nix",
        "report ../../x",
        "compare nix",
        "front nix",
        "sync nix",
        "tabulate nix --out out.parquet",
        "search --resume nix",
        "dashboard",
    ],
)
def test_to_look_for_what_is_not_there_makes_nothing(
    autonat: Autonat, tmp_path: Path, words: str
) -> None:
    one_line(*autonat(*words.split(), "--lab", tmp_path / "deep" / "lab"))
    assert [path.name for path in tmp_path.rglob("*")] == ["cwd"]


def test_results_that_could_not_be_written_are_refused_before_the_search(
    autonat: Autonat, tmp_path: Path
) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "results").write_text("")
    line = one_line(*autonat("search", *SMALL, "--lab", tmp_path / "lab"))
    assert "cannot be written: " in line
    assert study_names(Lab.at(tmp_path / "lab").record_url) == []


def test_a_yaml_study_file_says_what_flags_say(autonat: Autonat, tmp_path: Path) -> None:
    study = {
        "name": "from-file",
        "objective": "simulated",
        "objective_settings": {"noise": 0.0},
        "runner": "local",
        "steps": 2,
        "optimisers": ["cmaes"],
        "optimiser_settings": {"cmaes": {"max_in_flight": 2}},
        "bounds": {"guidance_scale": {"low": 0, "high": 2}},
        "frozen": ["sampling_temperature"],
        "controls": ["rule of thumb"],
        "budget": 600,
        "images_per_evaluation": 100,
        "lab": str(tmp_path / "lab"),
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    code, out, _ = autonat("search", file, "--budget", 500, "--json")
    assert code == 0
    assert {row["method"] for row in json.loads(out)["results"]} == {"cmaes", "rule of thumb"}
    record = Record.open(Lab.open(tmp_path / "lab").record_url, "from-file-cmaes")
    assert len(record.evaluations) == 5
    for evaluation in record.evaluations:
        assert evaluation.probe.strategy.sampling_temperature == (1.0, 1.0)
        assert max(evaluation.probe.strategy.guidance_scale) <= 2


def test_a_fault_of_a_folder_is_one_line(autonat: Autonat, tmp_path: Path) -> None:
    code, _, err = autonat("show", "x" * 300)
    assert code == 2
    assert err.splitlines()[-1] == f"autonat: {'x' * 300}: File name too long"
    file = tmp_path / "file"
    file.write_text("")
    code, _, err = autonat("evaluate", "x", "--lab", file / "lab")
    assert code == 2
    assert "Traceback" not in err
