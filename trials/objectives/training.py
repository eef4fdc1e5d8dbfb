"""Trains a model for each evaluation and measures it, for searches of training strategies.

Each training has a folder in the lab, named by a hash of everything that decides its weights,
except the number of steps. What is finished is neither trained nor measured again: a trial whose
worker or driver died resumes from its last checkpoint, and a final test finds the stored weights.
Finished weights are in the lab's store under their own hash. All workers must see the folder of the
lab.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from models.training.checkpoints import settings_hash
from models.training.training import steps_behind
from search.files import write_text
from search.measurement import UNSET_STAGES, Measurement
from search.optimiser import Probe, Training
from trials.objectives.measured import checked
from trials.objectives.objective import (
    Objective,
    Trained,
    Trains,
    require_heeded,
)
from trials.objectives.other_metric import measuring_in


@dataclass(frozen=True)
class Trainer:
    """Measures probes that train a model. It is sent to the workers by pickle.

    Attributes:
        objective: trains the models and measures them.
        lab: the folder of the lab, which all workers see.
        start: the hash of stored weights from which every training starts; None trains from
            scratch.
    """

    objective: Trains
    lab: Path
    start: str | None = None

    def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
        """Train to each rung, and measure the model there.

        Args:
            probe: one that trains a model.
            rungs: growing numbers of training steps; the last is that of the whole training.

        Yields:
            A measurement at each rung; the last one has the checkpoint.

        Raises:
            ValueError: the probe trains no model, or the training diverged.
        """
        if probe.training is None:
            raise ValueError(f"probe {probe.number}: expected one that trains a model")
        folder, key = self._folder(probe.training), self._measurement_key(probe)
        models: Iterator[Trained] | None = None
        for i, steps in enumerate(rungs):
            file, whole = folder / f"{steps}-{key}.json", steps == rungs[-1]
            # Two searches may need the same training at once: the second waits, then finds it
            # finished. Nobody waits while a model is measured, or between the rungs of an
            # evaluation, which may be stopped there for good.
            with _locked(folder):
                known = _measured(file, whole)
                model = None if known else self._finished(folder, steps)
                if known or model is not None:
                    models = None  # it would give the model of this rung to the next one
                else:
                    models = models or self._train(probe.training, folder, rungs[i:])
                    model = next(models)
                    if model.checkpoint is not None:
                        _finish(folder, steps, model)
            if model is not None:
                measures = measuring_in(model.objective, probe.metric)
                require_heeded(measures, probe.strategy.extras())
                found = measures.evaluate(probe.strategy, probe.images, probe.seed)
                measured = checked(found, probe.strategy, probe.images)
                with _locked(folder):
                    if not _measured(file, whole=True):  # which has more, by another search
                        write_text(file, json.dumps(asdict(_with_training(measured, steps, model))))
            yield _read_measurement(file)

    def _folder(self, training: Training) -> Path:
        """The folder of a training, named by what decides its weights, except the number of
        steps."""
        key = self.objective.training_key(training.strategy, training.seed)
        name = settings_hash({"training": dict(key), "start": self.start})
        folder = self.lab / "training" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _train(self, training: Training, folder: Path, rungs: tuple[int, ...]) -> Iterator[Trained]:
        state = folder / "state"
        if steps_behind(state) > rungs[0]:  # left by a search with other rungs
            shutil.rmtree(state)
        return self.objective.train(
            training.strategy, training.seed, rungs, state, self.lab, self.start
        )

    def _measurement_key(self, probe: Probe) -> str:
        described = measuring_in(cast(Objective, self.objective), probe.metric).describe()
        protocol = dict(described.get("protocol") or {})
        if protocol.get("metric") == "fid":  # keys from before there were other metrics lack it
            del protocol["metric"]
        if str(protocol.get("precision")).endswith(UNSET_STAGES):  # as those of its stages
            del protocol["precision"]
        told = {
            "strategy": probe.strategy.to_json(),
            "images": probe.images,
            "seed": probe.seed,
            "protocol": protocol,
        }
        return settings_hash(told)

    def _finished(self, folder: Path, steps: int) -> Trained | None:
        """The model of a training that was finished before, or None."""
        file = folder / f"{steps}-trained.json"
        if not file.exists():
            return None
        told = json.loads(file.read_text(encoding="utf-8"))
        objective = self.objective.with_checkpoint(self.lab, told["checkpoint"])
        return Trained(objective, told["validation_loss"], 0.0, told["checkpoint"])


def _measured(file: Path, whole: bool) -> bool:
    """Whether a measurement is kept; that of a whole training has a checkpoint.

    A rung of a longer training is measured without its weights being stored.
    """
    return file.exists() and (not whole or _read_measurement(file).checkpoint is not None)


def _finish(folder: Path, steps: int, model: Trained) -> None:
    """Note the weights, and delete the state of the training, which is several times larger."""
    told = {"checkpoint": model.checkpoint, "validation_loss": model.validation_loss}
    write_text(folder / f"{steps}-trained.json", json.dumps(told))
    shutil.rmtree(folder / "state", ignore_errors=True)


def _with_training(measured: Measurement, steps: int, model: Trained) -> Measurement:
    return replace(
        measured,
        training_steps=steps,
        validation_loss=model.validation_loss,
        checkpoint=model.checkpoint,
        seconds=measured.seconds + model.seconds,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Reserve the folder while the block runs; the lock ends with the process at the latest."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_measurement(path: Path) -> Measurement:
    return Measurement.from_json(json.loads(path.read_text(encoding="utf-8")))
