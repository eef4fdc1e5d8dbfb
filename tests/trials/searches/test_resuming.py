"""Where a resumed search runs: as it last ran, unless it is asked to run elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.measurement import Measurement
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.record.place import last_place, note_place
from trials.searches.resuming import resumed_settings

Autonat = Callable[..., tuple[int, str, str]]
SEARCH = [
    *("search", "--objective", "simulated", "--optimiser", "random", "--name", "x"),
    *("--steps", "2", "--budget", "800", "--images", "100"),
    *("--test-images", "100", "--test-seeds", "1,2", "--runner", "local"),
]


@pytest.fixture
def begun(autonat: Autonat, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a search x that was interrupted after three evaluations by the local runner."""
    evaluate, count = SimulatedObjective.evaluate, 0

    def interrupting(self: SimulatedObjective, *words: object) -> Measurement:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return evaluate(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(SimulatedObjective, "evaluate", interrupting)
    code, _, err = autonat(*SEARCH)
    assert code == 130
    assert err.splitlines()[-1].strip() == "interrupted; autonat search --resume x continues it"
    return Lab.open(Path("autonat-lab"))


def test_a_search_is_resumed_with_the_runner_that_it_had(begun: Lab, autonat: Autonat) -> None:
    assert last_place(begun.record_url, "x") == {"runner": "local"}
    code, _, err = autonat("search", "--resume", "x")
    assert code == 0, err
    assert "x: it runs with runner = local; importing" in err
    assert "Ray" not in err.replace("importing PyTorch, Ray and MLflow", "")


def test_a_report_of_a_part_does_not_stand_for_what_is_found_later(
    begun: Lab, autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert autonat("report", "x")[0] == 0
    best = begun.results("x") / "best.json"
    assert StrategyFile.read(best).test is None
    with monkeypatch.context() as patch:
        patch.setattr("trials.publishing.run.publish", _interrupted)
        assert autonat("search", "--resume", "x")[0] == 130
    code, _, err = autonat("search", "--resume", "x")
    assert code == 0, err
    found = StrategyFile.read(best)
    assert found.test is not None
    assert found.search is not None
    assert found.search["spent"]["evaluations"] == 8


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_study_file_that_began_a_search_resumes_it(
    autonat: Autonat, lab: Lab, tmp_path: Path
) -> None:
    """The record has all settings of optimisers, the file those that were given."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "objective: simulated\noptimisers: [tpe]\nsteps: 2\nbudget: 300\n"
        "images_per_evaluation: 100\nrunner: local\n"
        "optimiser_settings: {tpe: {common_random_numbers: true}}\n"
        "test_images: 100\ntest_seeds: [1]\nbounds: {guidance_scale: {low: 0, high: 3}}\n"
    )
    words = ("--lab", lab.folder)
    assert autonat("search", file, "--name", "f", *words)[0] == 0
    code, _, err = autonat("search", file, "--resume", "f", *words)
    assert code == 0, err
    given = {"lab": lab.folder, "optimiser_settings": {"tpe": {"common_random_numbers": False}}}
    line = "search f was made with optimiser_settings.tpe.common_random_numbers = True, not False"
    with pytest.raises(ValueError, match=line):
        resumed_settings("f", given, None)
    file.write_text(file.read_text().replace("{guidance_scale: {low: 0, high: 3}}", "{}"))
    with pytest.raises(ValueError, match="search f was made with bounds"):
        resumed_settings("f", {"lab": lab.folder}, file)


def test_what_is_asked_for_comes_before_what_was(begun: Lab, tmp_path: Path) -> None:
    place = {"runner": "ray", "workers": 3, "gpus_per_trial": 0.5, "evaluations_together": 2}
    note_place(begun.record_url, "x-random", place)
    given = {"lab": begun.folder}
    assert resumed_settings("x", given, None).place() == place
    assert resumed_settings("x", given | {"workers": 1}, None).place() == place | {"workers": 1}
    file = tmp_path / "study.yaml"
    file.write_text("gpus_per_trial: 0.25\nrunner: local\n")
    changed = {"gpus_per_trial": 0.25, "runner": "local"}
    assert resumed_settings("x", given, file).place() == place | changed


@pytest.mark.parametrize("asked", [{"ray_address": "auto"}, {"time_limit": 60.0}])
def test_what_only_ray_has_is_measured_with_ray(begun: Lab, asked: dict[str, object]) -> None:
    assert last_place(begun.record_url, "x") == {"runner": "local"}
    assert resumed_settings("x", {"lab": begun.folder} | asked, None).runner == "ray"
    both = {"lab": begun.folder, "runner": "local", "time_limit": 60.0}
    with pytest.raises(ValueError, match="expected runner = ray, whose workers it ends, got local"):
        resumed_settings("x", both, None)


def test_a_new_place_that_is_not_yet_in_the_record_is_in_the_line(
    begun: Lab, autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trials.searches.launch._prepare", interrupted)
    code, _, err = autonat("search", "--resume", "x", "--workers", 3)
    assert code == 130
    said = "interrupted; autonat search --resume x --workers 3 continues it"
    assert err.splitlines()[-1].strip() == said
    assert last_place(begun.record_url, "x") == {"runner": "local"}


def test_a_record_that_does_not_say_where_is_resumed_with_the_defaults(begun: Lab) -> None:
    note_place(begun.record_url, "x-random", {})
    assert resumed_settings("x", {"lab": begun.folder}, None).runner == "ray"
