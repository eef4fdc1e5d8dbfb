"""The evaluations in a page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace

from dashboards.evaluations import evaluations_data
from dashboards.result_figures import labelled
from trials.results.results import MethodResult

Results = Callable[..., list[MethodResult]]


def test_all_evaluations_of_all_searches_are_there(results: Results) -> None:
    found = labelled(results({"tpe": 3.9, "cmaes": 4.0}))
    packed = evaluations_data(found)
    assert packed is not None
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert data["columns"][:2] == ["method", "number"]
    assert len(data["rows"]) == 2 * 96
    by_name = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    table = found["cmaes"].evaluations
    ours = [row for row in by_name if row["method"] == "cmaes"]
    assert [row["seed"] for row in ours] == table["seed"].tolist()
    failed = [row for row in ours if row["state"] == "FAIL"]
    assert failed
    assert all(row["fid"] is None for row in failed)
    assert evaluations_data(labelled(results({}))) is None


def test_a_metric_with_the_name_of_a_column_has_another(results: Results) -> None:
    (found,) = results({"tpe": 3.9})[:1]
    packed = evaluations_data(labelled([replace(found, search_metric="seed")]))
    assert packed is not None
    columns = json.loads(gzip.decompress(base64.b64decode(packed)))["columns"]
    assert len(set(columns)) == len(columns)
    assert {"seed", "value of seed"} <= set(columns)
