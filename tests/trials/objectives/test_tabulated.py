from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from search.measurement import Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.tabulated import SHIPPED, TabulatedObjective, read_table, tabulate
from trials.record.record import Record

RNG = np.random.default_rng(1)


def test_a_table_knows_the_landscape_it_was_made_from(small_table: Path) -> None:
    table, truth = TabulatedObjective(table=str(small_table)), SimulatedObjective()
    space = Space(GenerationStrategy.maskgit(4))
    strategies = [space.from_unit(row) for row in RNG.uniform(0.3, 0.7, (60, len(space.names)))]
    strategies = [space.from_vector(vector) for vector in strategies]
    learnt = [table.truth(strategy, 200) for strategy in strategies]
    real = [truth.truth(strategy, 200) for strategy in strategies]
    assert spearmanr(learnt, real).statistic > 0.6
    assert np.abs(np.log(learnt) - np.log(real)).mean() < 0.2


def test_it_is_smooth(small_table: Path) -> None:
    table, space = TabulatedObjective(table=str(small_table)), Space(GenerationStrategy.maskgit(4))
    unit = np.full(len(space.names), 0.45)
    slopes = []
    for width in (1e-2, 1e-3):
        moved = unit.copy()
        moved[-6] += width
        here, there = (
            table.truth(space.from_vector(space.from_unit(u)), 200) for u in (unit, moved)
        )
        slopes.append((there - here) / width)
    assert slopes[0] != 0
    assert slopes[1] == pytest.approx(slopes[0], rel=0.1)


def test_the_shipped_table_is_of_3000_real_evaluations_and_true_to_them() -> None:
    surrogate, space, about = read_table("digits-T8")
    assert len(surrogate.weights) >= 3000
    assert about["objective"]["name"] == "digits"
    assert space.start.steps == 8
    frame = pd.read_parquet(SHIPPED / "digits-T8.parquet")
    learnt = np.exp([surrogate.log_fid(x) for x in surrogate.x])
    good = frame["fid"] < frame["fid"].median()
    assert np.abs(np.log(learnt / frame["fid"]))[good].mean() < 0.06
    assert spearmanr(learnt, frame["fid"]).statistic > 0.9
    objective = TabulatedObjective()
    rule = GenerationStrategy.maskgit(8)
    # FID falls with n, and its noise with the root of n.
    assert objective.truth(rule, 250) > objective.truth(rule, 1000) > objective.truth(rule, 10**6)
    small, large = (
        np.std([math.log(objective.evaluate(rule, n, seed).value) for seed in range(40)])
        for n in (250, 4000)
    )
    assert small / large == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda f: f.drop(columns="weight"), "lacks 'weight'"),
        (lambda f: f.drop(columns="mask_ratio_0"), "lacks 'mask_ratio_0'"),
        (lambda f: without_attributes(f), "lacks 'autonat'"),
        (lambda f: with_format(f), "format = 'autonat-table/9' is unknown"),
    ],
)
def test_a_file_that_is_no_table(
    small_table: Path, tmp_path: Path, change: object, line: str
) -> None:
    assert callable(change)
    change(pd.read_parquet(small_table)).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=line):
        TabulatedObjective(table=str(tmp_path / "bad.parquet"))


def test_text_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"^table .*text\.parquet: "):
        TabulatedObjective(table=str(tmp_path / "text.parquet"))


def test_too_few_evaluations_make_no_table(tmp_path: Path) -> None:
    space = Space(GenerationStrategy.maskgit(4))
    settings = {"space": space.to_json(), "objective": {"tokens": 64}, "protocol": {}}
    record = Record.create(f"sqlite:///{tmp_path / 'r.db'}", "few", settings)
    with pytest.raises(ValueError, match="expected at least 50 evaluations .* got 0 of 0"):
        tabulate([record], tmp_path / "few.parquet")


def test_evaluations_that_were_stopped_early_are_in_no_table(tmp_path: Path) -> None:
    space = Space(GenerationStrategy.maskgit(4))
    settings = {"space": space.to_json(), "objective": {"tokens": 64}, "protocol": {}}
    record = Record.create(f"sqlite:///{tmp_path / 'r.db'}", "stopped", settings)
    for number in range(60):
        probe = Probe(number, space.start, 400, number, number, "sample")
        record.add(probe, Measurement(9.0, None, 100, 8, 0.1), space)
    with pytest.raises(ValueError, match="expected at least 50 evaluations .* got 0 of 0"):
        tabulate([record], tmp_path / "few.parquet")


def test_a_metric_without_a_logarithm_makes_no_table(tmp_path: Path) -> None:
    settings = {"objective": {"tokens": 64}, "protocol": {"metric": "kid"}}
    record = Record.create(f"sqlite:///{tmp_path / 'r.db'}", "x-tpe", settings)
    with pytest.raises(ValueError, match="study x-tpe was measured in KID: a table needs FID"):
        tabulate([record], tmp_path / "kid.parquet")


def without_attributes(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs = {}
    return frame


def with_format(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["autonat"]["format"] = "autonat-table/9"
    return frame
