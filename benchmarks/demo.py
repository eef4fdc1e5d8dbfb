"""Repeats the search of the demo with several seeds: does coarse-to-fine beat every control?

    python -m benchmarks.demo      # half an hour on one core; run it again to resume

Each case is `autonat demo` with its own search seed and, for some, with a generator of another
training seed, in this process on one thread. It writes benchmarks/demo.parquet, with a row for each
case and method, and prints the difference of each method from the best control.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
import typer

from models.threads import one_thread
from search.controls import best_control
from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.objectives.preparing import prepare
from trials.progress import LiveProgress
from trials.record.searches import search_records
from trials.record.studies import study_names
from trials.results.results import MethodResult, method_results
from trials.runners.local_runner import run_local
from trials.searches.demo import DEMO
from trials.searches.reading import read_settings
from trials.searches.search_run import SearchRun
from trials.searches.settings import SearchSettings

HERE = Path(__file__).parent
CASES = "0:0,1:0,2:0,3:1,4:2"


def main(cases: str = CASES) -> None:
    """Run the cases (SEARCH_SEED:TRAINING_SEED,…) that are missing, then print all."""
    rows: list[dict[str, object]] = []
    for case in cases.split(","):
        seed, training_seed = map(int, case.split(":"))
        settings = demo(seed, training_seed)
        run(settings)
        results = method_results(
            search_records(Lab.open(settings.lab).record_url, settings.full_name())
        )
        rows += [_row(seed, training_seed, result, results) for result in results]
        table = pd.DataFrame(rows)
        table.to_parquet(HERE / "demo.parquet")
    print(table.round(3).to_string(index=False))
    searched = table[table["searched"]]
    ends = searched.groupby("method")[["below", "errors"]]
    print(ends.agg(["count", "mean", "min", "max"]).round(2).to_string())
    print(searched.groupby("method")["below"].agg(lambda found: (found > 0).sum()).to_string())


def demo(seed: int, training_seed: int) -> SearchSettings:
    """Return the settings of the demo with these seeds, in the lab of the benchmarks."""
    own = {
        "name": f"demo-s{seed}-t{training_seed}",
        "seed": seed,
        "objective_settings": {"training_seed": training_seed},
        "lab": HERE / "lab",
        "runner": "local",
        "workers": 1,
    }
    return read_settings(DEMO | own)


def run(settings: SearchSettings) -> None:
    """Run or resume a search; a complete search is left alone."""
    settings, lab = settings.completed(), Lab.open(settings.lab)
    name = settings.full_name()
    resume = any(study.startswith(f"{name}-") for study in study_names(lab.record_url))
    objective = load_objective(settings.objective, settings.objective_settings)
    with one_thread(), LiveProgress() as progress:
        prepare(objective, lab.folder, progress.report(f"preparing {name}"))
        made = SearchRun(
            settings,
            objective,
            lab,
            resume=resume,
            listener=lambda study: study.show(progress),
        )
        run_local(made, objective)


def _row(
    seed: int, training_seed: int, result: MethodResult, results: list[MethodResult]
) -> dict[str, object]:
    """Make a row of a result, with its distance below the best control, also in errors."""
    control = best_control(results)
    if control is None or not control.standard_error or not result.standard_error:
        raise ValueError(f"expected final tests of the controls beside {result.method}, got none")
    below = control.value - result.value
    return {
        "seed": seed,
        "training_seed": training_seed,
        "method": result.method,
        "searched": result.searched,
        "fid": result.value,
        "fid_se": result.standard_error,
        "fids": list(result.values),
        "best_control": control.method,
        "below": below,
        "errors": below / math.hypot(control.standard_error, result.standard_error),
        "believed": result.search_value,
        "forward_passes": result.forward_passes,
    }


if __name__ == "__main__":
    sys.exit(typer.run(main))
