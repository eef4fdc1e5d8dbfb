"""The part of `gpu_check` that needs Ray: trials that use a GPU, or half of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.precision import device
from search.controls import CONTROLS
from search.measurement import Measurement
from search.optimiser import Probe
from search.optimisers.replicates import Replicates
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.digits import DigitsObjective
from trials.record.record import Record
from trials.runners.ray_runner import RaySettings, ray_workers, run_ray
from trials.runners.study import Study

TRIALS = 4
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Noting:
    """An objective that records the device on which a worker measured."""

    objective: DigitsObjective
    folder: Path

    def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
        """See `Measures.measure`."""
        (self.folder / f"{probe.number}.device").write_text(device())
        yield self.objective.evaluate(probe.strategy, probe.images, probe.seed)


def measured_on_ray(
    objective: DigitsObjective, folder: Path, shares: tuple[float, ...] = (1.0, 0.5)
) -> Iterator[tuple[float, list[float], list[str]]]:
    """Repeat an evaluation; yield the GPUs of a trial, the FIDs, and the devices of workers."""
    lab = Lab.open(folder / "lab")
    with ray_workers(RaySettings(2, max(shares), None), [HERE]):
        for gpus in shares:
            notes = folder / f"ray-{gpus:g}"
            notes.mkdir()
            settings = {
                **describe("digits", {}, objective),
                "kind": "test",
                "search_name": notes.name,
            }
            record = Record.create(lab.record_url, notes.name, settings)
            strategies = {str(i): CONTROLS["rule of thumb"](8) for i in range(TRIALS)}
            asked = Replicates(strategies, 400, [1])
            study = Study(asked, record, None, TRIALS, lambda _: None)
            run_ray(study, Noting(objective, notes), RaySettings(2, gpus, None))
            fids = [done.measurement.value for done in record.evaluations if done.measurement]
            yield gpus, fids, [file.read_text() for file in sorted(notes.glob("*.device"))]
