"""Labs that an older version made are opened, reported, compared, measured again and resumed.

What is expected does not come from today's code: it is what the older version wrote into its own
strategy files, what SQLite finds in its record, and what it printed (evaluated.json). How they
were made: tests/old_labs/README.md.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reference_numbers import FILE as NUMBERS
from benchmarks.reference_numbers import arithmetic
from search.strategy_file import StrategyFile
from search.strategy_format_1 import upgraded

Autonat = Callable[..., tuple[int, str, str]]
LABS = Path(__file__).parents[1] / "old_labs"
FINISHED = ("digits", "both", "images")
each_finished = pytest.mark.parametrize("name", FINISHED)


@pytest.fixture
def opened(autonat: Autonat) -> Callable[[str], Path]:
    """Unpacks a lab where the command line stands, for its images are named from there."""

    def unpack(name: str) -> Path:
        with tarfile.open(LABS / f"{name}.tar.xz") as tar:
            tar.extractall(filter="data")
        return Path("lab")

    return unpack


def in_record(lab: Path) -> dict[str, list[float]]:
    """All values of the record, by study, in the order of their evaluations."""
    query = """
        select study_name, value from studies join trials using (study_id)
        join trial_values using (trial_id)
        where state = 'COMPLETE' and objective = 0 order by study_name, number
    """
    found: dict[str, list[float]] = {}
    database = sqlite3.connect(lab / "record.db")
    for study, value in database.execute(query):
        found.setdefault(study, []).append(value)
    database.close()
    return found


def written(lab: Path, name: str) -> dict[str, dict[str, Any]]:
    """The older version's strategy files of a search, by name."""
    files = (lab / "results" / name).glob("*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}


def said_by_methods(lab: Path) -> set[float]:
    """What searches saw, as the older version's strategy files say it."""
    files = [json.loads(file.read_text()) for file in (lab / "results").glob("*/*.json")]
    return {file["search"]["fid"] for file in files}


def printed(said: tuple[int, str, str]) -> Any:
    code, out, err = said
    assert code == 0, err
    return json.loads(out)


@each_finished
def test_it_is_listed_and_shown(name: str, autonat: Autonat, opened: Callable[[str], Path]) -> None:
    lab = opened(name)
    rows = {row["name"]: row for row in printed(autonat("list", "--lab", lab, "--json"))}
    best = written(lab, name)["best"]
    assert rows[name]["fid"] == best["test"]["fid"]
    assert rows[name]["lowest_fid"] == best["search"]["fid"]
    assert rows[name]["state"] == "done"
    values = in_record(lab)
    studies = printed(autonat("show", name, "--lab", lab, "--json"))["studies"]
    assert {study["study"] for study in studies} == set(values)
    for study in studies:
        told = values[study["study"]]
        assert study["evaluations"] == len(told)
        # A method's best is the lowest, or what its retests chose.
        assert study["best_fid"] in {None, min(told), *said_by_methods(lab)}
    code, out, err = autonat("show", lab / "results" / name / "best.json")
    assert code == 0, err
    assert f"FID {best['test']['fid']:.3g}" in out


@each_finished
def test_it_is_compared_and_exported(
    name: str, autonat: Autonat, opened: Callable[[str], Path]
) -> None:
    lab = opened(name)
    old = written(lab, name)
    results = printed(autonat("compare", name, "--lab", lab, "--json"))["results"]
    found = {row["method"]: row for row in results}
    if name == "both":
        found = {"best": found["round 2"]}
    for method, told in old.items():
        if method in found:
            for key in ("fid", "fid_se", "fids"):
                assert found[method][key] == told["test"][key]
            assert found[method]["search_fid"] == told["search"]["fid"]
            assert found[method]["strategy"] == told["generation"]
    assert set(found) & set(old)
    code, _, err = autonat("export", name, "out.json", "--lab", lab)
    assert code == 0, err
    exported = json.loads(Path("out.json").read_text())
    best = upgraded(old["best"])
    for part in ("generation", "training", "test"):
        kept = {key: exported[part][key] for key in best[part]}
        assert kept == best[part]


@pytest.mark.parametrize(
    "name", [n if n == "both" else pytest.param(n, marks=pytest.mark.long) for n in FINISHED]
)
def test_it_is_resumed_and_reported(
    name: str, autonat: Autonat, opened: Callable[[str], Path]
) -> None:
    lab = opened(name)
    before, old = in_record(lab), written(lab, name)["best"]
    told = printed(autonat("search", "--resume", name, "--lab", lab, "--json"))
    assert old["test"]["fid"] in [row["fid"] for row in told["results"]]
    assert in_record(lab) == before  # nothing was measured again
    report = lab / "results" / name / "report.html"
    report.unlink()
    code, _, err = autonat("report", name, "--lab", lab)
    assert code == 0, err
    assert f"{old['test']['fid']:.3g}" in report.read_text(encoding="utf-8")
    again = StrategyFile.from_json(written(lab, name)["best"])
    assert again.generation == StrategyFile.from_json(old).generation


@each_finished
def test_its_best_strategy_is_measured_again(
    name: str, autonat: Autonat, opened: Callable[[str], Path]
) -> None:
    lab = opened(name)
    expected = json.loads((LABS / "evaluated.json").read_text())[name]
    seeds = ",".join(map(str, expected["seeds"]))
    best = lab / "results" / name / "best.json"
    words = ("evaluate", best, "--lab", lab, "--images", expected["images"], "--seeds", seeds)
    found = printed(autonat(*words, "--json"))
    assert found["fids"] == pytest.approx(expected["fids"], rel=1e-7 if same_digits() else 0.02)


def test_a_front_is_measured_again(autonat: Autonat, opened: Callable[[str], Path]) -> None:
    lab = opened("images")
    code, out, err = autonat(
        *("front", "images", "--lab", lab, "--images", "60", "--seeds", "9", "--json")
    )
    assert code == 0, err
    assert json.loads(out)


def test_an_unfinished_one_goes_on(autonat: Autonat, opened: Callable[[str], Path]) -> None:
    lab = opened("unfinished")
    before = in_record(lab)
    assert {study: len(values) for study, values in before.items()} == {
        "unfinished-coarse-to-fine": 20,
        "unfinished-cmaes": 8,
    }
    words = ("search", "--resume", "unfinished", "--lab", lab, "--runner", "local", "--json")
    results = printed(autonat(*words))["results"]
    after = in_record(lab)
    for study, values in before.items():
        assert after[study][: len(values)] == values
        assert len(after[study]) == 20
    found = {row["method"]: row for row in results}
    assert found["coarse-to-fine"]["fid"] is not None
    assert found["cmaes"]["search_fid"] == min(after["unfinished-cmaes"])
    tested = after["unfinished-test"]
    assert sorted(fid for row in results for fid in row["fids"]) == sorted(tested)


def same_digits() -> bool:
    """Whether this machine's arithmetic is that of the machine where the labs were made."""
    kept: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return bool(arithmetic() == kept["made on"]["arithmetic"])
