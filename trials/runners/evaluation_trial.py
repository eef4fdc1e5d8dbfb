"""What a worker of Ray Tune does: it measures the probes of a trial, and tells their outcomes."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ray import tune

from search.ledger import amount_asked, amount_done
from search.measurement import Failure, Measurement
from trials.objectives.measured import Measures, evaluate_probes, grow_probe
from trials.objectives.objective import Objective
from trials.record.evaluation import probe_from_json

METRIC = "unused"
AMOUNT = "amount"
"""The metric of Tune that holds the images, or training steps, of a trial so far."""


class EvaluationTrial(tune.Trainable):
    """One evaluation a trial, with a step for each rung, or several at once, with one step. An
    actor and its objective serve many trials."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], objective: Objective | Measures, time_limit: float | None
    ) -> None:
        """Keep the objective, which Ray sends through its object store."""
        self._objective, self._time_limit = objective, time_limit
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start on the next probe, or probes."""
        self._probes = [probe_from_json(told) for told in json.loads(new_config["probes"])]
        self._results = self._measured(tuple(json.loads(new_config["rungs"])))
        return True

    def _measured(self, rungs: tuple[int, ...]) -> Iterator[list[Measurement | Failure]]:
        """The results at each rung."""
        if len(self._probes) > 1:
            yield evaluate_probes(self._objective, self._probes)
            return
        for result in grow_probe(self._objective, self._probes[0], rungs):
            yield [result]

    def step(self) -> dict[str, Any]:
        """Measure at the next rung. A measurement that hangs ends this process, and Tune retries
        it."""
        seconds = self._time_limit
        with _time_limit(None if seconds is None else seconds * len(self._probes)):
            results = next(self._results)
        outcomes = json.dumps([_told(result) for result in results])
        # Those of the first probe decide; where there are several, there is no rung before the end.
        # Tune needs its metrics in every result, even in that of a failure.
        asked, (first, *_) = amount_asked(self._probes[0]), results
        amount = asked if isinstance(first, Failure) else amount_done(self._probes[0], first)
        fid = math.inf if isinstance(first, Failure) else first.value
        told = {"fid": fid, AMOUNT: amount, "done": amount >= asked}
        return {METRIC: math.nan, "outcomes": outcomes, **told}


def _told(result: Measurement | Failure) -> dict[str, Any]:
    return {"failed": isinstance(result, Failure), "result": asdict(result)}


def read_outcomes(text: str) -> list[Measurement | Failure]:
    """Read the outcomes of a trial's probes, in their order."""
    return [
        Failure(**told["result"]) if told["failed"] else Measurement.from_json(told["result"])
        for told in json.loads(text)
    ]


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer, with a traceback in Ray's log.

    This also ends a hang outside of Python.
    """
    if seconds is not None:
        faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
