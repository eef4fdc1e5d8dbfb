from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.bound import Bound
from search.measurement import Failure, Measurement
from search.optimiser import RETEST, Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.record.best import Best
from trials.record.databases import sqlite_url
from trials.record.record import Record
from trials.record.studies import study_names

SPACE = Space(GenerationStrategy.maskgit(3))


def probe(number: int) -> Probe:
    return Probe(number, SPACE.start, 400, 2**31 + number, number, "sample")


def measured(fid: float) -> Measurement:
    return Measurement(fid, None, 400, 6, 0.5)


def test_what_is_added_is_there_in_another_process_s_eyes(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {"a": [1, 2]})
    record.add(probe(0), measured(3.25), SPACE)
    record.add(probe(1), Failure("ValueError: no"), SPACE)
    opened = Record.open(lab.record_url, "study")
    assert opened.settings == {"a": [1, 2]}
    assert [(e.probe, e.result) for e in opened.evaluations] == [
        (probe(0), measured(3.25)),
        (probe(1), Failure("ValueError: no")),
    ]
    assert opened.study_id == record.study_id


def test_a_value_of_zero_on_a_log_scale_is_recorded(lab: Lab) -> None:
    """Methods with rules of their own leave the bounds, and limits of passes set guidance to 0."""
    bounds = {
        "guidance_scale": Bound(1e-4, 4.0, log=True),
        "sampling_temperature": Bound(0.2, 4.0, log=True),
    }
    space = Space(SPACE.start, bounds)
    record = Record.create(lab.record_url, "study", {})
    strategy = replace(SPACE.start, guidance_scale=(0.0, 1.0, 2.0))
    asked = replace(probe(0), strategy=strategy)
    record.add(asked, measured(3.25), space)
    for number in range(1, 12):  # some with a log scale of the same parameter
        record.add(replace(probe(number), strategy=SPACE.start), measured(number + 1.0), space)
    trial, other, *_ = optuna.load_study(study_name="study", storage=lab.record_url).trials
    assert trial.params["guidance_scale_0"] == 0.0
    assert trial.distributions["guidance_scale_1"].log
    assert other.distributions["guidance_scale_0"].log
    opened = Record.open(lab.record_url, "study")
    assert opened.evaluations[0].probe == asked
    assert opened.importance()


def test_convergence_is_written_once(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    assert record.converged is None
    record.note_converged(30)
    record.note_converged(40)
    assert Record.open(lab.record_url, "study").converged == 30


def test_optuna_sees_a_trial_an_evaluation_with_its_parameters(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    record.add(probe(0), measured(3.25), SPACE)
    record.add(probe(1), Failure("no"), SPACE)
    study = optuna.load_study(study_name="study", storage=lab.record_url)
    first, second = study.trials
    assert first.state == TrialState.COMPLETE
    assert first.value == 3.25
    assert first.params == SPACE.start.parameters()
    assert second.state == TrialState.FAIL
    assert second.user_attrs["reason"] == "no"
    assert study.best_value == 3.25


def test_values_outside_the_bounds_are_recorded_as_they_were(lab: Lab) -> None:
    wild = GenerationStrategy((0.995, 0.0), (200.0, 1e-4), (1e-4, 9.0, 1.0), (50.0, 0.0, 1.0))
    record = Record.create(lab.record_url, "study", {})
    for number, space in enumerate((SPACE, SPACE)):
        record.add(Probe(number, wild, 400, 2**31, 0, "base"), measured(1.0), space)
    found = Record.open(lab.record_url, "study").evaluations[1].probe.strategy
    assert found == wild


def test_best_is_the_lowest_and_of_equals_the_first_asked(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    assert record.best() is None
    for number, result in ((2, measured(2.0)), (1, measured(2.0)), (0, Failure("no"))):
        record.add(probe(number), result, SPACE)
    best = record.best()
    assert best is not None
    assert best == Best(probe(1).strategy, 2.0)


def test_retests_choose_the_best_among_the_last_step_s(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    one, two, lucky = (
        GenerationStrategy.maskgit(3),
        *(
            GenerationStrategy((0.7, 0.3), (1.0, 0.5), (1.0, 1.0, t), (0.0,) * 3)
            for t in (0.8, 0.9)
        ),
    )
    rows = [
        (lucky, 0, "sample", 1.0),
        (one, 1, RETEST, 3.0),
        (two, 1, RETEST, 3.5),
        (lucky, 1, RETEST, 2.0),
        (one, 2, RETEST, 4.0),
        (two, 2, RETEST, 3.0),
    ]
    for number, (strategy, step, role, fid) in enumerate(rows):
        asked = Probe(number, strategy, 400, 2**31 + step, step, role)
        record.add(asked, measured(fid), SPACE)
    assert record.best() == Best(two, 3.25)


def test_a_failed_retest_makes_no_strategy_better_than_another(lab: Lab) -> None:
    """Under the seed of step 2 all values are lower; there the better strategy failed once."""
    record = Record.create(lab.record_url, "study", {})
    better = GenerationStrategy.maskgit(3)
    worse = GenerationStrategy((0.7, 0.3), (1.0, 0.5), (1.0, 1.0, 0.8), (0.0,) * 3)
    rows: list[tuple[GenerationStrategy, int, float | None]] = [
        *((better, 1, 10.0), (worse, 1, 10.5)),
        *((better, 2, None), (worse, 2, 1.5)),
        *((better, 3, 9.0), (worse, 3, 9.5)),
    ]
    for number, (strategy, seed, fid) in enumerate(rows):
        asked = Probe(number, strategy, 400, 2**31 + seed, 7, RETEST)
        record.add(asked, Failure("its worker died") if fid is None else measured(fid), SPACE)
    assert record.best() == Best(better, 9.5)


def test_frame_counts_a_failure_s_images_but_has_no_fid_for_it(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    record.add(probe(0), measured(2.0), SPACE)
    record.add(probe(1), Failure("no"), SPACE)
    frame = record.frame()
    assert list(frame["state"]) == ["COMPLETE", "FAIL"]
    assert list(frame["images"]) == [400, 400]
    assert math.isnan(frame["fid"][1])


def test_a_study_is_not_made_twice_nor_opened_unmade(lab: Lab) -> None:
    Record.create(lab.record_url, "study", {})
    with pytest.raises(ValueError, match="study study exists already"):
        Record.create(lab.record_url, "study", {})
    with pytest.raises(ValueError, match="no study 'other'.*known: study"):
        Record.open(lab.record_url, "other")


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_study_whose_making_was_cut_off_is_made_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    whole = optuna.Study.set_user_attr
    left = [None] * written

    def cut(study: optuna.Study, key: str, value: object) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        whole(study, key, value)

    monkeypatch.setattr(optuna.Study, "set_user_attr", cut)
    with pytest.raises(KeyboardInterrupt):
        Record.create(lab.record_url, "study", {"a": 1})
    monkeypatch.undo()
    assert study_names(lab.record_url) == []
    with pytest.raises(ValueError, match="no study 'study'"):
        Record.open(lab.record_url, "study")
    Record.create(lab.record_url, "study", {"a": 2})
    assert Record.open(lab.record_url, "study").settings == {"a": 2}
    with pytest.raises(ValueError, match="exists already"):
        Record.create(lab.record_url, "study", {"a": 2})


def test_a_record_of_a_newer_autonat_is_refused(lab: Lab) -> None:
    Record.create(lab.record_url, "study", {})
    study = optuna.load_study(study_name="study", storage=lab.record_url)
    study.set_user_attr("format", "autonat-record/2")
    with pytest.raises(ValueError, match="study study: format = 'autonat-record/2' is unknown"):
        Record.open(lab.record_url, "study")
    with pytest.raises(ValueError, match="exists already"):
        Record.create(lab.record_url, "study", {})


def test_a_study_that_is_not_ours_is_not_seen(lab: Lab) -> None:
    optuna.create_study(study_name="foreign", storage=lab.record_url)
    with pytest.raises(ValueError, match="no study 'foreign'"):
        Record.open(lab.record_url, "foreign")


@pytest.mark.parametrize("url", ["sqlite:////proc", "nonsense://x"])
def test_a_storage_that_cannot_be_opened_is_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="^record ") as caught:
        study_names(url)
    assert "\n" not in str(caught.value)


def test_looking_for_a_study_makes_no_file(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "lab" / "record.db")
    assert study_names(url) == []
    with pytest.raises(ValueError, match="no study 'nix' in .*; known: none"):
        Record.open(url, "nix")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    file.write_text("not a database, but long enough to be read as the head of one\n" * 20)
    with pytest.raises(ValueError, match="^record .*not a database"):
        study_names(f"sqlite:///{file}")


def test_a_stopped_evaluation_is_pruned_and_never_the_best(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    record.add(probe(0), measured(3.0), SPACE)
    record.add(probe(1), Measurement(1.0, None, 100, 6, 0.1), SPACE)
    opened = Record.open(lab.record_url, "study")
    assert [e.state for e in opened.evaluations] == ["COMPLETE", "PRUNED"]
    assert opened.evaluations[1].measurement == Measurement(1.0, None, 100, 6, 0.1)
    assert opened.best() == Best(probe(0).strategy, 3.0)
    assert opened.frame()["images"].tolist() == [400, 100]
    trial = optuna.load_study(study_name="study", storage=lab.record_url).trials[1]
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {100: 1.0}
