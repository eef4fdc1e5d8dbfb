"""The commands that search: `autonat search` and `autonat demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.controls import CONTROLS
from search.registry import OPTIMISERS, TRAINING_OPTIMISERS
from search.strategy import require_steps
from search.strategy_file import StrategyFile
from trials.cli.flags import (
    LAB,
    App,
    JsonFlag,
    LabFlag,
    ObjectiveFlag,
    RecordFlag,
    SetFlag,
    StrategyArgument,
    TrackingFlag,
    read_assignments,
    read_bounds,
    read_counts,
    read_nested,
    read_seeds,
)
from trials.cli.printing import show_transfer
from trials.lab import Lab
from trials.progress import LiveProgress, say
from trials.searches.demo import DEMO, METHODS

if TYPE_CHECKING:
    from trials.searches.settings import SearchSettings

app = App()
IMPORTING = "importing PyTorch, Ray and MLflow …"


@app.command()
def search(
    study_file: Annotated[
        Path | None, typer.Argument(metavar="STUDY.yaml", help="All that flags can say.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="(default: derived from what is searched)")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with this search.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: what failed is measured again.")
    ] = False,
    what: Annotated[
        str | None,
        typer.Option(help="generation, training, both (in rounds) or joint. (default: generation)"),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Of both, at most. (default: 3)")] = None,
    training_optimiser: Annotated[
        str | None, typer.Option(help="Of both. (default: autonat-greedy)")
    ] = None,
    fine_tune: Annotated[
        bool | None, typer.Option("--fine-tune", help="Of both: later rounds train on.")
    ] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    steps: Annotated[int | None, typer.Option(help="T. (default: 8)")] = None,
    start: Annotated[
        Path | None, typer.Option(help="A strategy file, or a control, to start from.")
    ] = None,
    optimiser: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(OPTIMISERS)}; repeatable. (default: coarse-to-fine). Of training "
            f"strategies: {', '.join(TRAINING_OPTIMISERS)}. (default: autonat-greedy)"
        ),
    ] = None,
    distribution: Annotated[
        str | None, typer.Option(help="Of mask ratios in training. (default: beta)")
    ] = None,
    training_start: Annotated[
        list[str] | None, typer.Option(help="PARAMETER=VALUE of the distribution; repeatable.")
    ] = None,
    training_bounds: Annotated[
        list[str] | None, typer.Option(help="PARAMETER=LOW:HIGH or LOW:HIGH:log; repeatable.")
    ] = None,
    training_steps: Annotated[
        int | None, typer.Option(help="Of a model trained for an evaluation. (default: 1000)")
    ] = None,
    training_budget: Annotated[
        int | None, typer.Option(help="Training steps a method. (default: 12000)")
    ] = None,
    fine_tune_from: Annotated[
        str | None, typer.Option(help="Train on from stored weights: their sha256:…")
    ] = None,
    optimiser_set: Annotated[
        list[str] | None, typer.Option(help="OPTIMISER.NAME=VALUE; repeatable.")
    ] = None,
    bounds: Annotated[
        list[str] | None, typer.Option(help="SCHEDULE=LOW:HIGH or LOW:HIGH:log; repeatable.")
    ] = None,
    freeze: Annotated[list[str] | None, typer.Option(help="A schedule; repeatable.")] = None,
    max_forward_passes: Annotated[int | None, typer.Option(help="An image.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="asha: hopeless evaluations stop at n/4 and n/2.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Images a method. (default: 50000)")] = None,
    images: Annotated[int | None, typer.Option(help="An evaluation. (default: 500)")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the optimisers. (default: 0)")] = None,
    controls_first: Annotated[
        bool | None,
        typer.Option("--controls-first", help="Every method measures the controls first."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(CONTROLS)}; repeatable. (default: rule of thumb)"),
    ] = None,
    test_images: Annotated[int | None, typer.Option(help="A final test. (default: 2000)")] = None,
    test_seeds: Annotated[str | None, typer.Option(help="(default: 1,2,3)")] = None,
    runner: Annotated[str | None, typer.Option(help="ray or local. (default: ray)")] = None,
    workers: Annotated[int | None, typer.Option(help="(default: the cores)")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="(default: 0)")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="auto, HOST:PORT or ray://… (default: start Ray here)")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Seconds; an evaluation that hangs is begun again. (default: none)"),
    ] = None,
    max_failures_in_a_row: Annotated[
        int | None, typer.Option(help="Of one reason; then the search stops. (default: 5)")
    ] = None,
    lab: Annotated[
        Path | None,
        typer.Option(envvar="AUTONAT_LAB", help="Folder of its files. (default: autonat-lab)"),
    ] = None,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Search generation or training strategies, then test the winners on unseen seeds."""
    flags: dict[str, Any] = {
        "name": name,
        "what": what,
        "rounds": rounds,
        "training_optimiser": training_optimiser,
        "fine_tune": fine_tune,
        "mask_ratio_distribution": distribution,
        "training_start": read_assignments("--training-start", training_start),
        "training_bounds": read_bounds("--training-bounds", training_bounds),
        "training_steps": training_steps,
        "training_budget": training_budget,
        "fine_tune_from": fine_tune_from,
        "objective": objective,
        "objective_settings": read_assignments("--set", settings),
        "steps": steps,
        "start": start,
        "optimisers": optimiser,
        "optimiser_settings": read_nested("--optimiser-set", optimiser_set),
        "bounds": read_bounds("--bounds", bounds),
        "frozen": freeze,
        "max_forward_passes": max_forward_passes,
        "scheduler": scheduler,
        "budget": budget,
        "images_per_evaluation": images,
        "seed": seed,
        "controls_first": controls_first,
        "controls": control,
        "test_images": test_images,
        "test_seeds": None if test_seeds is None else read_seeds("--test-seeds", test_seeds),
        "runner": runner,
        "workers": workers,
        "gpus_per_trial": gpus_per_trial,
        "ray_address": ray_address,
        "time_limit": time_limit,
        "max_failures_in_a_row": max_failures_in_a_row,
        "lab": lab,
        "record_url": record_url,
        "tracking_uri": tracking_uri,
    }
    given = {key: value for key, value in flags.items() if value is not None and value != {}}
    if resume is not None:
        _resume(resume, given, study_file, retry_failed, as_json_)
    elif retry_failed:
        raise ValueError("--retry-failed goes with --resume NAME")
    else:
        from trials.searches.settings import read_settings

        _begin(read_settings(given, study_file), as_json_)


def _resume(
    name: str, given: dict[str, Any], file: Path | None, retry_failed: bool, as_json_: bool
) -> None:
    say(f"{name}: resuming; reading its record …")
    from trials.searches.launch import resumed_settings

    settings = resumed_settings(name, given, file)
    if settings.what != "both" and not retry_failed:
        from trials.cli.finished import show_finished

        if show_finished(settings, as_json_):
            return
    say(f"{name}: {IMPORTING}")
    from trials.cli.search_command import run

    run(settings, resume=True, retry_failed=retry_failed, as_json_=as_json_)


def _begin(settings: SearchSettings, as_json_: bool) -> None:
    from trials.searches.settings import JointSearch, TrainingSearch

    each = f"{settings.budget:,} images"
    if isinstance(settings, TrainingSearch | JointSearch):
        each = f"{settings.training_budget:,} training steps"
    methods = ", ".join(settings.optimisers)
    say(f"{settings.name or 'search'}: {methods} on {settings.objective}, {each} each; {IMPORTING}")
    if settings.name is not None:  # a derived one costs seconds
        from trials.searches.search_run import refuse_taken

        refuse_taken(Lab.open(settings.lab, settings.record_url), settings.name)
    from trials.cli.search_command import run

    run(settings, resume=False, as_json_=as_json_)


@app.command()
def demo(
    optimiser: Annotated[
        list[str] | None,
        typer.Option(help=f"Beside {', '.join(METHODS)}: {', '.join(OPTIMISERS)}."),
    ] = None,
    steps: Annotated[int, typer.Option(help="T.")] = DEMO["steps"],
    budget: Annotated[int, typer.Option(help="Images a method.")] = DEMO["budget"],
    images: Annotated[int, typer.Option(help="An evaluation.")] = DEMO["images_per_evaluation"],
    workers: Annotated[int | None, typer.Option(help="(default: the cores)")] = None,
    lab: LabFlag = LAB,
    as_json_: JsonFlag = False,
) -> None:
    """The main job on real digits: train, search with five methods, test, report."""
    say("demo: the lab's record is read for a free name …")
    from trials.record.record import study_names
    from trials.searches.search_run import has_begun
    from trials.searches.settings import read_settings

    more = [name for name in optimiser or [] if name not in METHODS]
    known = study_names(Lab.open(lab).record_url)
    number = 1
    while has_begun(f"demo-{number}", known):
        number += 1
    values: dict[str, Any] = DEMO | {
        "name": f"demo-{number}",
        "optimisers": [*METHODS, *more],
        "steps": steps,
        "budget": budget,
        "images_per_evaluation": images,
        "lab": lab,
    }
    if workers is not None:
        values["workers"] = workers
    _begin(read_settings(values), as_json_)


@app.command()
def transfer(
    strategy: StrategyArgument,
    settings: SetFlag = None,
    steps: Annotated[str | None, typer.Option(help="T, with commas. (default: the file's)")] = None,
    refine: Annotated[
        int | None, typer.Option(help="Images of a search that goes on from there. (default: none)")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="An evaluation of that search.")] = 250,
    test_images: Annotated[int, typer.Option(min=1, help="A final test.")] = 2000,
    test_seeds: Annotated[str, typer.Option(help="Of the final test.")] = "1,2,3",
    workers: Annotated[int | None, typer.Option(help="(default: the cores)")] = None,
    lab: LabFlag = LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Measure a strategy on another model (--set width=64) or at other T, and refine it there."""
    say(f"{strategy}: measured elsewhere; importing PyTorch …")
    from models.training.checkpoints import settings_hash
    from trials.cli.search_command import refined
    from trials.objectives.objective import load_objective
    from trials.searches.launch import check, prepare
    from trials.searches.settings import read_settings
    from trials.searches.transfer import (
        Transferred,
        measure_transfer,
        target_settings,
        transferred_file,
    )

    file = StrategyFile.read(strategy)
    where, seeds = Lab.open(lab), read_seeds("--test-seeds", test_seeds)
    lengths = read_counts("--steps", steps) if steps is not None else [file.generation.steps]
    values = target_settings(file, read_assignments("--set", settings))
    name = str((file.objective or {})["name"])
    made = load_objective(name, values)
    common: dict[str, Any] = {
        "objective": name,
        "objective_settings": values,
        "budget": refine,
        "images_per_evaluation": images,
        "test_images": test_images,
        "test_seeds": seeds,
    }
    given = common | {"lab": lab} | ({} if workers is None else {"workers": workers})
    for length in lengths:
        plain = {key: value for key, value in given.items() if value is not None}
        require_steps(length, made.tokens)
        if refine is not None:
            check(read_settings(plain | {"steps": length}).completed(), made, where)
    rows: dict[int, list[Transferred]] = {}
    with LiveProgress() as progress:
        prepare(made, where.folder, progress.report(f"preparing {name}"))
        for length in lengths:
            report = progress.report(f"transfer to T = {length}")
            rows[length] = measure_transfer(file, made, length, test_images, seeds, report)
    for length, found in rows.items() if refine is not None else ():
        own = transferred_file(file, made, values, found[-1])
        # Named by all that it depends on: the same refinement is made once.
        key = settings_hash(common | {"generation": own.generation.to_json()})[:8]
        start = where.make_results("transfer") / f"T{length}-{key}.json"
        own.write(start)
        more = {"name": f"transfer-T{length}-{key}", "steps": length, "start": start}
        found_there = refined(read_settings(given | more), where)
        if found_there is None:
            raise KeyboardInterrupt
        found.append(found_there)
    show_transfer(file, rows, as_json_)
