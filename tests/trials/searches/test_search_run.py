"""What of a search's studies is looked for, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from trials.lab import Lab
from trials.progress import LiveProgress
from trials.publishing import transferring
from trials.record.record import Record
from trials.searches.reading import read_settings
from trials.searches.settings import SearchSettings

SETTINGS: dict[str, Any] = {
    "kind": "search",
    "optimiser": "random",
    "objective": {"name": "simulated", "checkpoint": None},
    "search": {
        "steps": 2,
        "budget": 800,
        "images_per_evaluation": 100,
        "seed": 0,
        "optimisers": ["random"],
    },
}


@pytest.mark.parametrize(
    ("name", "kind", "synced"),
    [
        ("s", "search", {"s-random"}),
        ("whole", "alternation", {"whole-r1-generation-random", "whole-alternation"}),
    ],
)
def test_a_name_syncs_its_own_studies_alone(
    autonat: Callable[..., tuple[int, str, str]],
    with_mlflow: Lab,
    name: str,
    kind: str,
    synced: set[str],
) -> None:
    url = with_mlflow.record_url
    half = SETTINGS["search"] | {"alternation": name}
    if kind == "alternation":
        Record.create(url, f"{name}-alternation", SETTINGS | {"kind": kind, "search_name": name})
    else:
        Record.create(url, f"{name}-random", SETTINGS | {"search_name": name})
    Record.create(
        url,
        f"{name}-r1-generation-random",
        SETTINGS | {"search_name": f"{name}-r1-generation", "search": half},
    )
    Record.create(
        url, f"{name}-random-walk-random", SETTINGS | {"search_name": f"{name}-random-walk"}
    )
    code, _, err = autonat("sync", name, "--lab", with_mlflow.folder)
    assert code == 0, err
    client = MlflowClient(with_mlflow.tracking_uri)
    experiment = client.get_experiment_by_name("autonat")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["autonat.study"] for run in runs} == synced


def test_a_refinement_goes_on_where_it_is_told_to_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"objective": "simulated", "name": "t", "lab": lab.folder, "optimisers": ["random"]}
    settings = read_settings(given | {"workers": 3, "runner": "local"})
    recorded = SETTINGS | {"search_name": "t", "search": settings.completed().problem()}
    Record.create(lab.record_url, "t-random", recorded)
    asked: list[tuple[SearchSettings, bool]] = []

    def interrupted(settings: SearchSettings, *, resume: bool, **more: object) -> None:
        asked.append((settings, resume))

    monkeypatch.setattr(transferring, "search_and_publish", interrupted)
    assert transferring.refined(settings, lab, LiveProgress(False), print) is None
    [(now, resume)] = asked
    assert resume
    assert (now.workers, now.runner) == (3, "local")
