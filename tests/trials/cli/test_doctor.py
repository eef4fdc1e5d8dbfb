from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from trials.cli import doctor
from trials.cli.doctor import examine, report
from trials.lab import Lab
from trials.record.studies import study_names
from trials.runners import local_ray

Run = Callable[..., tuple[int, str, str]]


def test_all_is_well_on_one_machine_and_nothing_stays_behind(autonat: Run, tmp_path: Path) -> None:
    code, out, _ = autonat("doctor", "--lab", tmp_path / "lab", "--json")
    findings = json.loads(out)
    assert code == 0
    assert [finding["what"] for finding in findings] == ["lab", "record", "MLflow", "speed", "Ray"]
    assert {finding["state"] for finding in findings} == {"ok"}
    assert study_names(Lab.open(tmp_path / "lab").record_url) == []
    assert not list((tmp_path / "lab").glob("autonat-doctor-*"))


def test_what_a_ray_started_here_would_lack_is_said(
    autonat: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    code, out, _ = autonat("doctor", "--lab", tmp_path / "lab", "--json")
    assert code == 0
    assert "TMPDIR cannot hold it" in json.loads(out)[-1]["found"]
    monkeypatch.setattr(local_ray, "SHORT_FOLDERS", ())
    code, out, _ = autonat("doctor", "--lab", tmp_path / "lab", "--json")
    assert code == 1
    assert json.loads(out)[-1]["state"] == "failed"


def test_what_does_not_answer_is_named_with_what_to_do(autonat: Run, tmp_path: Path) -> None:
    words = ["--record-url", "postgresql://me:secret@127.0.0.1:9/x"]
    words += ["--tracking-uri", "http://127.0.0.1:9", "--ray-address", "127.0.0.1:9"]
    code, out, err = autonat("doctor", "--lab", tmp_path / "lab", *words)
    lines = out.splitlines()
    assert code == 1
    assert err == "checking the lab, the record, MLflow and Ray …\n"
    assert "secret" not in out
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "ok",
        "failed",
        "warning",  # a search runs without MLflow
        "ok",
        "failed",
    ]
    assert lines[2].strip().startswith("start its server")
    assert lines[3].endswith("Connection refused>")
    assert lines[-2].endswith("Connection refused")


def test_an_own_url_comes_from_the_environment(
    autonat: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONAT_RECORD_URL", f"sqlite:///{tmp_path}/other.db")
    code, out, _ = autonat("doctor", "--lab", tmp_path / "lab")
    assert code == 0
    assert f"{tmp_path}/other.db, 0 studies" in out


def test_nodes_are_asked_for_their_versions_gpus_and_the_lab(
    cluster: Cluster, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = doctor._versions() | {"optuna": "4.0.0"}
    monkeypatch.setattr(doctor, "_versions", lambda: here)
    *_, ray, first, second = examine(lab.folder, None, None, cluster.address, gpus_per_trial=2)
    assert (ray.what, ray.state) == ("Ray", "failed")
    assert "2 nodes, CPUs: 2, GPUs: 1" in ray.found
    assert "add a node that has 1 CPU and 2 GPUs" in ray.advice
    by_state = {node.state: node for node in (first, second)}
    assert set(by_state) == {"warning", "failed"}
    assert "optuna 5." in by_state["warning"].found
    assert "4.0.0 here" in by_state["warning"].found
    assert "constraints.txt" in by_state["warning"].advice
    assert "no GPU" in by_state["failed"].found
    assert "of 1 declared" in by_state["failed"].found
    assert not list(lab.folder.glob("autonat-doctor-*"))


def test_a_lab_that_a_node_does_not_see(tmp_path: Path) -> None:
    told = report(tmp_path / "not there")
    assert not told.lab
    finding = doctor._node("node", told, declared=len(told.gpus))
    assert finding.state == "warning"
    assert "does not see the lab" in finding.found
    assert "storage that all nodes share" in finding.advice


def test_a_lab_that_cannot_be_written(autonat: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, _ = autonat("doctor", "--lab", tmp_path / "file", "--json")
    (finding,) = json.loads(out)
    assert code == 1
    assert finding["state"] == "failed"
    assert "not a folder" in finding["found"]
