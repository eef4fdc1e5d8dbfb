"""The rows of a comparison of searches: kept line by line in a folder, printed and drawn."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from search.files import write_text

Row = dict[str, Any]
Task = TypeVar("Task")


def run_command(
    parser: argparse.ArgumentParser,
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    table: Callable[[pd.DataFrame], str],
    draw: Callable[[pd.DataFrame, Path], None],
) -> None:
    """Add the commands `table FILE` and `picture FILE OUT`, and run the command that was given.

    Args:
        parser: of the program; an error of its commands becomes a line.
        commands: the other commands; each has set `command`, a function of the given values.
        table: turns rows into text.
        draw: draws rows to a file.
    """
    shown = commands.add_parser("table", help="print the table of a parquet file")
    shown.add_argument("file", type=Path)
    shown.set_defaults(command=lambda given: print(table(pd.read_parquet(given.file))))
    drawn = commands.add_parser("picture", help="draw what was found beside controls")
    drawn.add_argument("file", type=Path)
    drawn.add_argument("out", type=Path)
    drawn.set_defaults(command=lambda given: draw(pd.read_parquet(given.file), given.out))
    given = parser.parse_args()
    try:
        given.command(given)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def require_same_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan to its folder, which is made, or compare it with the one that is there.

    Args:
        folder: of the rows.
        plan: what all of them have in common, as JSON values.

    Raises:
        ValueError: the folder is of another plan; the differing values are named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if not path.exists():
        write_text(path, json.dumps(plan))
    theirs = json.loads(path.read_text())
    differing = [f"{k} = {theirs.get(k)}, not {v}" for k, v in plan.items() if theirs.get(k) != v]
    if differing:
        raise ValueError(f"{folder} holds searches with {', '.join(differing)}")


def read_rows(path: Path) -> list[Row]:
    """The rows that were written whole; the last line may be cut off by a kill."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to those that are kept."""
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def rows_of_tasks(
    kept: Path, tasks: Sequence[Task], measure: Callable[[Task], list[Row]], processes: int
) -> list[Row]:
    """Measure in processes of one thread each; return all rows that are kept then.

    The rows of a task, with a name, an FID and its error, are kept as soon as it is done. A task
    that fails is told, and the others go on.

    Args:
        kept: the file of the rows.
        tasks: what is missing.
        measure: the rows of a task; it is sent to the processes by pickle.
        processes: how many.

    Raises:
        ValueError: there are no rows.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.monotonic()
    with ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent) as pool:
        asked = [pool.submit(measure, task) for task in tasks]
        for number, answered in enumerate(as_completed(asked), 1):
            try:
                found = answered.result()
            except Exception as error:  # of any type: the other searches go on
                print(f"{number} of {len(tasks)} failed: {error!r}", flush=True)
                continue
            add_rows(kept, found)
            told = [f"{r['name']}: FID {r['fid']:.2f} ± {r['fid_se']:.2f}" for r in found[-1:]]
            spent = time.monotonic() - started
            print(f"{number} of {len(tasks)}, {spent:.0f} s: {'; '.join(told)}", flush=True)
    rows = read_rows(kept)
    if not rows:
        raise ValueError("nothing was measured")
    return rows


def _end_with_parent() -> None:
    """Let this process not outlive the one that started it, which may be killed."""
    parent = parent_process()
    if parent is None:
        return

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
