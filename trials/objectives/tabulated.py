"""The objective `tabulated`: a smooth surrogate of a real study, on which a search takes seconds.

A table is a parquet file of real evaluations, which `autonat tabulate` makes from a search's
record. Its metadata hold what the surrogate (search.surrogate) learnt from them. No image is
generated. The values have the noise and the bias over n of the real ones, and the expected values
are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.bound import Bound
from search.coordinates import Coordinates
from search.files import named_os_errors, write_whole
from search.measurement import Measurement, metric_label
from search.optimiser import Probe
from search.schedules import STANDARD
from search.space import Space
from search.strategy import GenerationStrategy
from search.surrogate import Surrogate, from_json, learn, to_json
from trials.objectives.named_paths import PathText
from trials.record.record import Record

FORMAT = "autonat-table/1"
SHIPPED = Path(__file__).parent / "tables"
FEWEST = 50
"""The fewest evaluations from which a surrogate is learnt."""


class TabulatedObjective:
    """Measures strategies on a table.

    Args:
        table: a parquet file, or the name of a shipped table ("digits-T8").

    Raises:
        ValueError: there is no such table, or the file is not a table.
    """

    def __init__(self, *, table: PathText = "digits-T8") -> None:
        self._table = table
        self._surrogate, self._space, about = read_table(table)
        self.tokens = int(about["tokens"])
        self._dataset = str(about["dataset"])

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`."""
        return {
            "dataset": f"table of {self._dataset}",
            "protocol": {"features": f"surrogate {self._table}"},
        }

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`.

        Raises:
            ValueError: the space is not within the tabulated one.
        """
        ours, theirs = self._space, space
        if theirs.start.steps != ours.start.steps:
            raise ValueError(
                f"table {self._table} is of T = {ours.start.steps} steps, not {theirs.start.steps}"
            )
        for name in STANDARD:
            inner, outer = theirs.bounds[name], ours.bounds[name]
            if inner.low < outer.low or inner.high > outer.high or inner.log != outer.log:
                raise ValueError(
                    f"table {self._table} has {name} in {_bound_text(outer)}, not in "
                    f"{_bound_text(inner)}"
                )

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`.

        Raises:
            ValueError: T is not that of the table.
        """
        started = time.perf_counter()
        steps = self._space.start.steps
        if strategy.steps != steps:
            raise ValueError(f"table {self._table} is of T = {steps} steps, not {strategy.steps}")
        fid, error = self._surrogate.fid(strategy, images, seed)
        return Measurement(
            value=fid,
            standard_error=error,
            images=images,
            forward_passes=strategy.forward_passes(),
            seconds=time.perf_counter() - started,
        )

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """See `Grows.evaluate_growing`."""
        for images in rungs:
            yield self.evaluate(strategy, images, seed)

    def truth(self, strategy: GenerationStrategy, images: int) -> float:
        """The expected FID with n images, without noise."""
        return self._surrogate.truth(strategy, images)


def tabulate(records: list[Record], path: Path) -> int:
    """Write a table of all evaluations in these records that have the commonest n.

    Args:
        records: of searches over the same space, with the same objective and protocol.
        path: the parquet file.

    Returns:
        How many evaluations it holds.

    Raises:
        ValueError: the records differ, have too few evaluations, or the file cannot be written.
    """
    space, tokens = _common_space(records)
    rows, images = _rows_of_one_n(records)
    strategies = [probe.strategy for probe, _ in rows]
    seeds = [probe.seed for probe, _ in rows]
    values = [measured.value for _, measured in rows]
    smaller = [(i, n, f) for i, (_, m) in enumerate(rows) for n, f in m.value_at]
    surrogate = learn(space, tokens, strategies, np.array(values), np.array(seeds), images, smaller)
    frame = pd.DataFrame([strategy.parameters() for strategy in strategies])
    frame["guidance_floor"] = [strategy.guidance_floor for strategy in strategies]
    frame["fid"] = values
    frame["fid_se"] = [measured.standard_error for _, measured in rows]
    frame["seed"] = seeds
    frame["weight"] = surrogate.weights
    settings = records[0].settings
    frame.attrs["autonat"] = {
        "format": FORMAT,
        "objective": settings["objective"],
        "protocol": settings["protocol"],
        "studies": [record.name for record in records],
        "space": space.to_json(),
        "tokens": tokens,
        "dataset": settings["objective"]["dataset"] or settings["objective"]["name"],
        "surrogate": to_json(surrogate),
    }
    with named_os_errors(path), write_whole(path) as partial:
        frame.to_parquet(partial, compression="zstd")
    return len(frame)


def _rows_of_one_n(records: list[Record]) -> tuple[list[tuple[Probe, Measurement]], int]:
    """The evaluations with the commonest n, and that n, without those that were stopped early.

    Raises:
        ValueError: there are too few of them.
    """
    rows = [
        (evaluation.probe, evaluation.measurement)
        for record in records
        for evaluation in record.evaluations
        if evaluation.measurement is not None
        and evaluation.measurement.value > 0
        and not evaluation.stopped
    ]
    sizes = pd.Series([measured.images for _, measured in rows])
    commonest = 0 if sizes.empty else int(sizes.value_counts().iloc[0])
    if commonest < FEWEST:
        raise ValueError(
            f"expected at least {FEWEST} evaluations with the same n for a table, got {commonest} "
            f"of {len(rows)}"
        )
    images = int(sizes.mode().iloc[0])
    return [row for row in rows if row[1].images == images], images


def read_table(table: str) -> tuple[Surrogate, Space, dict[str, Any]]:
    """Read a table: its surrogate, its space, and its metadata.

    Raises:
        ValueError: there is no such table, or the file is not a table.
    """
    if not isinstance(table, str):
        raise ValueError(f"table: expected a name or a path, got {table!r}")
    path = Path(table)
    if not path.suffix:
        path = SHIPPED / f"{table}.parquet"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.parquet")))
            raise ValueError(f"table {table} is unknown; known: {known}, or a parquet file")
    try:
        frame = pd.read_parquet(path)
        about = dict(frame.attrs["autonat"])
        if about["format"] != FORMAT:
            raise ValueError(f"format = {about['format']!r} is unknown; known: {FORMAT!r}")
        space = Space.from_json(about["space"])
        coordinates = Coordinates(space, int(about["tokens"]))
        strategies = [_strategy(space, row) for row in frame.to_dict("records")]
        x = np.stack([coordinates.from_strategy(strategy) for strategy in strategies])
        weights = frame["weight"].to_numpy(np.float64)
        return from_json(coordinates, x, weights, about["surrogate"]), space, about
    except OSError as error:
        raise ValueError(f"table {path}: {error.strerror or error}") from None
    except KeyError as error:
        raise ValueError(f"table {path} lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"table {path}: {str(error).splitlines()[0]}") from None


def _common_space(records: list[Record]) -> tuple[Space, int]:
    """The space that all records searched, and L.

    Raises:
        ValueError: they were not measured in FID, they differ, or they searched more than the four
            standard schedules.
    """
    for record in records:
        if record.metric != "fid":
            raise ValueError(
                f"study {record.name} was measured in {metric_label(record.metric)}: a table needs "
                "FID, whose logarithm it learns"
            )
    first = records[0]
    for record in records[1:]:
        for key in ("space", "protocol", "objective"):
            if record.settings[key] != first.settings[key]:
                raise ValueError(
                    f"{record.name} and {first.name} have a different {key}, so they make no "
                    "common table"
                )
    space = Space.from_json(first.settings["space"])
    for words in space.extras().values():
        raise ValueError(
            f"{first.name} searched strategies with {words}, but a table holds only the four "
            "standard schedules"
        )
    return space, int(first.settings["objective"]["tokens"])


def _strategy(space: Space, row: Mapping[Any, Any]) -> GenerationStrategy:
    lists = {
        name: tuple(float(row[f"{name}_{i}"]) for i in range(schedule.length(space.start.steps)))
        for name, schedule in STANDARD.items()
    }
    return GenerationStrategy.of(lists, float(row["guidance_floor"]))


def _bound_text(bound: Bound) -> str:
    return f"[{bound.low:g}, {bound.high:g}]" + (" log" if bound.log else "")
