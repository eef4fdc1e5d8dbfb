"""The note of a study while its search runs."""

from __future__ import annotations

import optuna
import pytest
from optuna_dashboard import get_note

from search.measurement import Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.record import running_notes
from trials.record.record import Record
from trials.record.running_notes import EVERY, RunningNotes
from trials.record.storage import open_storage

SPACE = Space(GenerationStrategy.maskgit(3))
SETTINGS = {"kind": "search", "search_name": "s", "optimiser": "random"}


def measured(record: Record, number: int, value: float) -> None:
    passes = SPACE.start.forward_passes()
    probe = Probe(number, SPACE.start, 400, 2**31 + number, number, "sample")
    record.add(probe, Measurement(value, 0.125, 400, passes, 0.1), SPACE)


def note(lab: Lab) -> str:
    return get_note(optuna.load_study(study_name="s-random", storage=open_storage(lab.record_url)))


def test_it_is_written_now_and_then_with_the_best_so_far(lab: Lab) -> None:
    record, now = Record.create(lab.record_url, "s-random", SETTINGS), [0.0]
    notes = RunningNotes(lab.record_url, lab.optuna_artifacts, lambda: now[0])
    measured(record, 0, 5.0)
    notes.changed(record)
    notes.close()
    assert note(lab) == ""
    now[0] = EVERY
    notes.changed(record)
    notes.close()
    assert "1 evaluations with 400 images" in note(lab)
    assert "Best FID so far: 5 ± 0.12, which was chosen for being low" in note(lab)
    measured(record, 1, 4.0)
    now[0] += EVERY / 2
    notes.changed(record)
    notes.close()
    assert "so far: 5 " in note(lab)
    now[0] += EVERY / 2
    notes.changed(record)
    notes.close()
    assert "so far: 4 ± 0.12" in note(lab)


def test_it_takes_little_of_the_search_and_a_failure_costs_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, now, calls = Record.create(lab.record_url, "s-random", SETTINGS), [0.0], [0]

    def slow(*_: object) -> None:
        calls[0] += 1
        now[0] += 3.0
        raise TimeoutError

    monkeypatch.setattr(running_notes, "write_note", slow)
    notes = RunningNotes(lab.record_url, lab.optuna_artifacts, lambda: now[0])
    while now[0] < 1000:
        now[0] += 1.0
        notes.changed(record)
        notes.close()
    assert calls[0] == 4
