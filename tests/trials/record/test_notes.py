from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from search.measurement import Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.record.notes import write_note
from trials.record.record import Record

SETTINGS: dict[str, Any] = {"kind": "search", "protocol": {"metric": "kid"}}


def study(lab: Lab) -> optuna.Study:
    return optuna.load_study(study_name="study", storage=lab.record_url)


@pytest.mark.parametrize(("kind", "name"), [("search", "KID"), ("test", "KID, final test")])
def test_values_have_a_name(lab: Lab, kind: str, name: str) -> None:
    Record.create(lab.record_url, "study", SETTINGS | {"kind": kind})
    assert study(lab).metric_names == [name]


def test_a_note_has_the_last_pictures_and_keeps_what_people_wrote(lab: Lab) -> None:
    Record.create(lab.record_url, "study", SETTINGS)
    picture, folder = lab.folder / "schedules.png", lab.folder / "optuna-artifacts"
    picture.write_bytes(b"first")
    write_note(lab.record_url, "study", "# found", [picture], folder)
    note = get_note(study(lab))
    assert note.startswith("# found\n\n![schedules](/artifacts/")
    (kept,) = folder.iterdir()
    assert kept.name in note
    save_note(study(lab), f"{note}\n\nmine")
    picture.write_bytes(b"second")
    write_note(lab.record_url, "study", "# again", [picture], folder)
    assert [file.read_bytes() for file in folder.iterdir()] == [b"second"]
    again = get_note(study(lab))
    assert again == note.replace("# found", "# again") + "\n\nmine"
    assert Record.open(lab.record_url, "study").evaluations == ()


@pytest.mark.parametrize("steps", [4, 12])
def test_parameters_sort_and_those_of_an_older_record_stay(lab: Lab, steps: int) -> None:
    strategy = GenerationStrategy.maskgit(steps)
    space, passes = Space(strategy), strategy.forward_passes()
    good = Measurement(3.0, None, 100, passes, 0.1, value_at=((25, 4.0), (50, 3.5)))
    record = Record.create(lab.record_url, "study", SETTINGS)
    record.add(Probe(0, strategy, 100, 2**31, 0, "start"), good, space)
    (trial,) = study(lab).get_trials()
    names = [name for name in trial.params if name.startswith("guidance_scale")]
    assert names == sorted(names)
    assert names[1] == ("guidance_scale_1" if steps == 4 else "guidance_scale_01")
    assert trial.intermediate_values == {25: 4.0, 50: 3.5, 100: 3.0}
    again = Record.open(lab.record_url, "study")
    assert again.evaluations[0].result == good
    assert set(again.parameters(again.evaluations[0].probe)) == set(trial.params)

    def as_it_was(name: str, _: int) -> str:
        return name

    older = Record.create(lab.record_url, "older", SETTINGS)
    older._named = as_it_was
    older.add(Probe(0, strategy, 100, 2**31, 0, "start"), good, space)
    resumed = Record.open(lab.record_url, "older")
    resumed.add(Probe(1, strategy, 100, 2**31, 0, "start"), good, space)
    trials = optuna.load_study(study_name="older", storage=lab.record_url).get_trials()
    assert {*trials[0].params} == {*trials[1].params} == {*strategy.parameters()}
