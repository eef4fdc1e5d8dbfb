"""The evaluations of a study as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from trials.record.evaluation import Evaluation

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "number",
    "probe",
    "step",
    "role",
    "state",
    "fid",
    "fid_se",
    "images",
    "training_steps",
    "validation_loss",
    "forward_passes",
    "seconds",
    "seed",
    "finished",
    "reason",
)


def evaluations_table(evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """A table with the columns COLUMNS, and others, and one row for each evaluation.

    A failed evaluation has no value in `fid`, but the images that it was to generate. A stopped one
    (PRUNED) has the images that it was given and its value at that n. Further columns are the
    parameters of the training strategies, where models were trained; the values of the strategies
    (mask_ratio_0 …); and the choices of which a strategy has an unusual one.
    """
    import pandas as pd

    rows = []
    more: dict[str, None] = {}
    for evaluation in evaluations:
        probe, measured = evaluation.probe, evaluation.measurement
        values: dict[str, float | str] = {}
        if probe.training is not None:
            values |= probe.training.strategy.parameters()
        strategy = probe.strategy
        values |= {**strategy.parameters(), **strategy.unusual_choices()}
        more |= dict.fromkeys(values)
        rows.append(
            {
                "number": evaluation.number,
                "probe": probe.number,
                "step": probe.step,
                "role": probe.role,
                "state": evaluation.state,
                "fid": measured.value if measured else math.nan,
                "fid_se": measured.standard_error if measured else None,
                "images": evaluation.images,
                "training_steps": evaluation.training_steps,
                "validation_loss": measured.validation_loss if measured else None,
                "forward_passes": strategy.forward_passes(),
                "seconds": measured.seconds if measured else math.nan,
                "seed": probe.seed,
                "finished": evaluation.finished,
                "reason": evaluation.reason,
                **values,
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, *more])
