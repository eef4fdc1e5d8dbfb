"""Faults are really made, by benchmarks/faults.py: nothing that was measured is lost or doubled.

Killed workers are in test_ray_runner.py, a second driver is in tests/trials/record/test_hold.py;
benchmarks.faults also takes too much memory.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from benchmarks.faults import (
    disk_full,
    driver_killed,
    driver_stopped,
    node_lost,
    postgresql_restarted,
)
from benchmarks.watched_search import Outcome

FEW = 20
"""Evaluations of each optimiser."""


def unharmed(outcome: Outcome, tries: int) -> bool:
    """As if nothing had happened."""
    assert outcome.tries == tries, outcome
    assert (outcome.lost, outcome.twice, outcome.same) == (0, 0, True), outcome
    return True


def test_a_driver_killed_at_random_moments(tmp_path: Path) -> None:
    """Twice; benchmarks.faults kills it twenty times, on Ray."""
    outcome = driver_killed(tmp_path, 2, "local", 12.0, FEW, 0.6)
    assert unharmed(outcome, 2)
    assert outcome.again <= 2  # what was in flight
    assert len(outcome.recovery) >= 1  # a life measured something


@pytest.mark.long
def test_a_driver_that_is_told_to_stop(tmp_path: Path) -> None:
    """By a cluster's scheduler; Ctrl-C is in tests/trials/cli/test_entry.py, as is SIGTERM to the
    whole group."""
    assert unharmed(driver_stopped(tmp_path, "ray", signal.SIGTERM, FEW), 1)
    assert "autonat search --resume faults" in (tmp_path / "log").read_text()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_lost_and_another_added(tmp_path: Path) -> None:
    outcome, on_the_added = node_lost(tmp_path, FEW)
    assert unharmed(outcome, 1)
    assert outcome.again <= 1
    assert on_the_added > 0


@pytest.mark.long
def test_a_record_whose_server_restarts(tmp_path: Path) -> None:
    outcome = postgresql_restarted(tmp_path, 2, "local", 1.0, FEW)
    assert unharmed(outcome, 2)
    assert outcome.again == 0


def test_a_full_disk(tmp_path: Path) -> None:
    outcome, said = disk_full(tmp_path, FEW)
    assert unharmed(outcome, 1)
    assert said.startswith("autonat: record faults-")
    assert "disk" in said
