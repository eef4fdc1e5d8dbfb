"""The command line: `autonat`. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done, 2 bad input (one line says what), 130 interrupted (what was measured is kept).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer
from rich.console import Console
from rich.table import Table

from dashboards.report import difference, with_error
from dashboards.samples import grid, png
from dashboards.servers import dashboard_commands, open_dashboards
from search.controls import CONTROLS
from search.public_yaml import read_public, write_public
from search.registry import OPTIMISERS
from search.strategy import SCHEDULES
from search.strategy_file import StrategyFile
from trials.flags import read_assignments, read_bounds, read_nested, read_seeds
from trials.lab import Lab
from trials.launch import launch, prepare, replicate, resumed_settings
from trials.mirror import Mirror
from trials.objective import Objective, Samples, describe, load_objective, registered_objectives
from trials.progress import LiveProgress
from trials.publish import Published, publish
from trials.record import study_names
from trials.results import MethodResult, as_json, method_results
from trials.search_run import differences, search_records
from trials.settings import SearchSettings, read_settings

app = typer.Typer(
    help="A laboratory for the schedules of masked image generators.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)

DEMO_OPTIMISERS = ["autonat-reference", "tpe", "cmaes", "random"]

LabFlag = Annotated[
    Path, typer.Option("--lab", envvar="AUTONAT_LAB", help="Folder of the project's files.")
]
RecordFlag = Annotated[
    str | None, typer.Option("--record-url", help="Optuna storage. [default: SQLite in the lab]")
]
TrackingFlag = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow. [default: SQLite in the lab]")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
SetFlag = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE of the objective; repeatable.")
]
ObjectiveFlag = Annotated[
    str | None, typer.Option("--objective", help="A registered name, or package.module:Class.")
]
StrategyArgument = Annotated[Path, typer.Argument(metavar="STRATEGY.json")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the search.")]
LAB = Path("autonat-lab")


@app.command()
def search(
    study_file: Annotated[
        Path | None, typer.Argument(metavar="STUDY.yaml", help="All that flags can say.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="[default: derived from what is searched]")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with this search.")
    ] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    steps: Annotated[int | None, typer.Option(help="T. [default: 8]")] = None,
    start: Annotated[Path | None, typer.Option(help="A strategy file to start from.")] = None,
    optimiser: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(OPTIMISERS)}; repeatable. [default: cmaes]"),
    ] = None,
    optimiser_set: Annotated[
        list[str] | None, typer.Option(help="OPTIMISER.NAME=VALUE; repeatable.")
    ] = None,
    bounds: Annotated[
        list[str] | None, typer.Option(help="SCHEDULE=LOW:HIGH or LOW:HIGH:log; repeatable.")
    ] = None,
    freeze: Annotated[list[str] | None, typer.Option(help="A schedule; repeatable.")] = None,
    budget: Annotated[int | None, typer.Option(help="Images a method. [default: 50000]")] = None,
    images: Annotated[int | None, typer.Option(help="An evaluation. [default: 500]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the optimisers. [default: 0]")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(CONTROLS)}; repeatable. [default: rule of thumb]"),
    ] = None,
    test_images: Annotated[int | None, typer.Option(help="A final test. [default: 2000]")] = None,
    test_seeds: Annotated[str | None, typer.Option(help="[default: 1,2,3]")] = None,
    runner: Annotated[str | None, typer.Option(help="ray or local. [default: ray]")] = None,
    workers: Annotated[int | None, typer.Option(help="[default: the cores]")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="[default: 0]")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="auto, HOST:PORT or ray://… [default: start Ray here]")
    ] = None,
    lab: Annotated[
        Path | None,
        typer.Option(envvar="AUTONAT_LAB", help="Folder of its files. [default: autonat-lab]"),
    ] = None,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Search generation strategies, then test the winners on unseen seeds."""
    flags: dict[str, Any] = {
        "name": name,
        "objective": objective,
        "objective_settings": read_assignments(settings) if settings else None,
        "steps": steps,
        "start": start,
        "optimisers": optimiser,
        "optimiser_settings": read_nested(optimiser_set) if optimiser_set else None,
        "bounds": read_bounds(bounds) if bounds else None,
        "frozen": freeze,
        "budget": budget,
        "images_per_evaluation": images,
        "seed": seed,
        "controls": control,
        "test_images": test_images,
        "test_seeds": read_seeds(test_seeds) if test_seeds else None,
        "runner": runner,
        "workers": workers,
        "gpus_per_trial": gpus_per_trial,
        "ray_address": ray_address,
        "lab": lab,
        "record_url": record_url,
        "tracking_uri": tracking_uri,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    if resume is not None:
        _run(resumed_settings(resume, given, study_file), resume=True, as_json_=as_json_)
    else:
        _run(read_settings(given, study_file), resume=False, as_json_=as_json_)


@app.command()
def demo(
    optimiser: Annotated[
        list[str] | None,
        typer.Option(help=f"Beside {', '.join(DEMO_OPTIMISERS)}: {', '.join(OPTIMISERS)}."),
    ] = None,
    steps: Annotated[int, typer.Option(help="T.")] = 4,
    budget: Annotated[int, typer.Option(help="Images a method.")] = 18_000,
    images: Annotated[int, typer.Option(help="An evaluation.")] = 400,
    workers: Annotated[int | None, typer.Option(help="[default: the cores]")] = None,
    lab: LabFlag = LAB,
    as_json_: JsonFlag = False,
) -> None:
    """The main job on real digits: train, search with four methods, test, report."""
    more = [name for name in optimiser or [] if name not in DEMO_OPTIMISERS]
    known = study_names(Lab.open(lab).record_url)
    number = 1
    while any(study.startswith(f"demo-{number}-") for study in known):
        number += 1
    values: dict[str, Any] = {
        "name": f"demo-{number}",
        "optimisers": [*DEMO_OPTIMISERS, *more],
        "steps": steps,
        "budget": budget,
        "images_per_evaluation": images,
        "controls": list(CONTROLS),
        "test_images": 1000,
        "lab": lab,
    }
    if workers is not None:
        values["workers"] = workers
    _run(read_settings(values), resume=False, as_json_=as_json_)


@app.command()
def train(
    objective: Annotated[str, typer.Option(help="Its name.")] = "digits",
    settings: SetFlag = None,
    lab: LabFlag = LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Prepare an objective: train its generator, once; searches then begin at once."""
    values = read_assignments(settings)
    made = _prepared(objective, values, Lab.open(lab))
    described = describe(objective, values, made)
    if as_json_:
        _print_json(described)
    else:
        out.print(f"checkpoint {described['objective']['checkpoint']}")


@app.command()
def evaluate(
    strategy: StrategyArgument,
    images: Annotated[int | None, typer.Option(help="[default: the file's test]")] = None,
    seeds: Annotated[str | None, typer.Option(help="1,2,3 [default: the file's test]")] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Measure a strategy file again, on any seeds."""
    file = StrategyFile.read(strategy)
    chosen = read_seeds(seeds) if seeds else list(file.test.seeds) if file.test else [1, 2, 3]
    n = images or (file.test.images if file.test else 2000)
    if n < 1:
        raise ValueError(f"images = {n} is not positive")
    name, values = _objective_of(file, objective, settings)
    file.generation.masked_counts(load_objective(name, values).tokens)
    with LiveProgress() as progress:
        made = _prepared(name, values, Lab.open(lab), progress)
        described = describe(name, values, made)
        for field, theirs in (("protocol", file.protocol), ("objective", file.objective)):
            if theirs is not None and differences(dict(theirs), described[field], field):
                line = differences(dict(theirs), described[field], field)[0]
                progress.say(f"note: not what the file was measured with: {line}")
        test, seconds = replicate(made, file.generation, n, chosen, progress.report("evaluating"))
    if as_json_:
        more = {"protocol": described["protocol"], "seconds": round(seconds, 3)}
        _print_json(test.to_json() | more)
    else:
        out.print(
            f"FID {with_error(test.fid, test.fid_se)}, n = {n}, seeds {chosen}, "
            f"{test.forward_passes} forward passes an image"
        )


@app.command()
def show(
    strategy: StrategyArgument,
    tokens: Annotated[int | None, typer.Option(help="L. [default: the file's]")] = None,
) -> None:
    """Print a strategy's schedules and the counts in force."""
    file = StrategyFile.read(strategy)
    length = tokens or (file.objective or {}).get("tokens")
    generation = file.generation
    table = Table("step", *SCHEDULES)
    counts = None if length is None else generation.masked_counts(length)
    if counts is not None:
        table.add_column(f"masked of {length}")
    for t in range(generation.steps):
        values = [getattr(generation, name) for name in SCHEDULES]
        row = [f"{schedule[t]:.4f}" if t < len(schedule) else "0" for schedule in values]
        table.add_row(str(t), *row, *([] if counts is None else [str(counts[t])]))
    out.print(table)
    out.print(f"{generation.forward_passes()} forward passes an image")
    if file.test is not None:
        seeds = ", ".join(map(str, file.test.seeds))
        fid = with_error(file.test.fid, file.test.fid_se)
        out.print(f"FID {fid}, n = {file.test.images}, seeds {seeds}")


@app.command()
def sample(
    strategy: StrategyArgument,
    picture: Annotated[Path, typer.Argument(metavar="OUT.png")],
    images: Annotated[int, typer.Option(min=1)] = 40,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = LAB,
) -> None:
    """Draw the first images that a strategy generates."""
    file = StrategyFile.read(strategy)
    name, values = _objective_of(file, objective, settings)
    made = _prepared(name, values, Lab.open(lab))
    file.generation.masked_counts(made.tokens)
    if not isinstance(made, Samples):
        raise ValueError(f"objective {name} lacks the method sample: it has no images to show")
    sheet = png(grid(made.sample(file.generation, images, seed)), least_width=480)
    try:
        picture.write_bytes(sheet)
    except OSError as error:
        raise ValueError(f"{picture}: {error.strerror}") from None
    out.print(str(picture))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of searches.")],
    lab: LabFlag = LAB,
    record_url: RecordFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Print the final tests of searches side by side."""
    where = Lab.open(lab, record_url)
    protocol: tuple[str, Any] | None = None
    results: list[MethodResult] = []
    for name in names:
        records = search_records(where, name)
        if protocol is None:
            protocol = (name, records[0].settings["protocol"])
        elif protocol[1] != records[0].settings["protocol"]:
            raise ValueError(f"{name} and {protocol[0]} have other FID protocols: no common table")
        results += method_results(records)
    _show_results(results, as_json_)


@app.command()
def export(
    name: NameArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT", help=".json, or .yaml as published.")],
    optimiser: Annotated[str | None, typer.Option(help="[default: the best one's]")] = None,
    lab: LabFlag = LAB,
) -> None:
    """Write a search's best strategy: a strategy file, or the public code's YAML."""
    source = Lab.open(lab).results(name) / f"{optimiser or 'best'}.json"
    file = StrategyFile.read(source)
    try:
        if target.suffix in (".yaml", ".yml"):
            write_public(target, file.generation)
        else:
            file.write(target)
    except OSError as error:
        raise ValueError(f"{target}: {error.strerror}") from None
    out.print(str(target))


@app.command("import")
def import_(
    public: Annotated[Path, typer.Argument(metavar="PUBLIC.yaml")],
    target: Annotated[Path, typer.Argument(metavar="OUT.json")],
) -> None:
    """Turn the public code's YAML of four lists into a strategy file."""
    strategy = read_public(public)
    try:
        StrategyFile(strategy).write(target)
    except OSError as error:
        raise ValueError(f"{target}: {error.strerror}") from None
    out.print(str(target))


@app.command()
def report(
    name: NameArgument,
    lab: LabFlag = LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Write a search's strategy files and HTML report again, from its record."""
    where = Lab.open(lab, record_url, tracking_uri)
    records = search_records(where, name)
    described = records[0].settings["objective"]
    made = _prepared(described["name"], described["settings"], where)
    out.print(str(publish(where, name, records, made, Mirror(where)).report))


@app.command()
def sync(
    name: Annotated[str | None, typer.Argument(help="Of a search. [default: all]")] = None,
    lab: LabFlag = LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Bring MLflow up to the record."""
    where = Lab.open(lab, record_url, tracking_uri)
    known = study_names(where.record_url)
    ends = ("test", *OPTIMISERS)
    searches = {s.removesuffix(f"-{e}") for s in known for e in ends if s.endswith(f"-{e}")}
    mirror, added = Mirror(where), 0
    for search_name in sorted(searches) if name is None else [name]:
        for record in search_records(where, search_name):
            added += mirror.sync(record)
            optimiser = record.settings.get("optimiser", "-")
            files = [where.results(search_name) / f for f in (f"{optimiser}.json", "report.html")]
            if files[1].exists():
                mirror.finish(record, [f for f in files if f.exists()], {})
    out.print(f"{added} evaluations added to {where.tracking_uri}")


@app.command()
def dashboard(
    lab: LabFlag = LAB, record_url: RecordFlag = None, tracking_uri: TrackingFlag = None
) -> None:
    """Open the MLflow UI and optuna-dashboard on this machine, until Ctrl-C."""
    where = Lab.open(lab, record_url, tracking_uri)
    open_dashboards(where.record_url, where.tracking_uri, where.artifacts)


@app.command()
def objectives() -> None:
    """List the registered objectives."""
    for name, point in sorted(registered_objectives().items()):
        out.print(f"{name}  {point.value}")


def main() -> None:
    """Run the command line."""
    # The driver only waits: what it leaves free is the workers'.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for noisy in ("alembic", "mlflow", "ray"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    try:
        app()
    except ValueError as error:
        print(f"autonat: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("autonat: interrupted", file=sys.stderr)
        sys.exit(130)


def _run(settings: SearchSettings, *, resume: bool, as_json_: bool) -> None:
    """Search, publish, print."""
    name = settings.completed().full_name()
    with LiveProgress() as progress:
        try:
            launched = launch(settings, resume=resume, progress=progress)
        except KeyboardInterrupt:
            launched = None
        if launched is None or not launched.run.finished:
            where = "" if settings.lab == LAB else f" --lab {settings.lab}"
            progress.say(f"interrupted; autonat search --resume {name}{where} goes on from here")
            raise typer.Exit(130)
        lab = launched.lab
        records = search_records(lab, name)
        published = publish(lab, name, records, launched.objective, launched.mirror)
    if published.behind:
        line = f"MLflow is {published.behind} evaluations behind: autonat sync completes it"
        print(line, file=sys.stderr)
    _show_results(published.results, as_json_, published, name)
    if not as_json_:
        mlflow, dashboard_ = dashboard_commands(lab.record_url, lab.tracking_uri, lab.artifacts)
        out.print(f"best strategy     {published.best}")
        out.print(f"report            {published.report}")
        out.print(f"MLflow UI         {mlflow}")
        out.print(f"Optuna dashboard  {dashboard_}")


def _show_results(
    results: list[MethodResult],
    as_json_: bool,
    published: Published | None = None,
    name: str | None = None,
) -> None:
    if as_json_:
        paths = published and {"best": str(published.best), "report": str(published.report)}
        _print_json({"name": name, **(paths or {}), "results": as_json(results)})
        return
    ranked = sorted(results, key=lambda r: (r.fid != r.fid, r.fid))
    table = Table(
        "method", "final test FID", "from the best", "search saw", "images", "passes", "s"
    )
    for r in ranked:
        table.add_row(
            r.method if r.searched else f"{r.method} (control)",
            with_error(r.fid, r.fid_se),
            difference(r, ranked[0]),
            "" if r.search_fid is None else f"{r.search_fid:.3f}",
            f"{r.images:,}" if r.searched else "",
            str(r.forward_passes),
            f"{r.seconds:.0f}" if r.searched else "",
        )
    out.print(table)
    tested = ranked[0]
    seeds = ", ".join(map(str, tested.test_seeds))
    out.print(
        f"FID ± standard error over seeds {seeds} that no search saw, n = {tested.test_images}; "
        "images: generated by the search; passes: of the network, an image; "
        "s: seconds of all its evaluations"
    )


def _prepared(
    name: str, settings: dict[str, Any], lab: Lab, progress: LiveProgress | None = None
) -> Objective:
    objective = load_objective(name, settings)
    if progress is not None:
        prepare(objective, lab.folder, progress.report(f"preparing {name}"))
    else:
        with LiveProgress() as own:
            prepare(objective, lab.folder, own.report(f"preparing {name}"))
    return objective


def _objective_of(
    file: StrategyFile, name: str | None, settings: list[str] | None
) -> tuple[str, dict[str, Any]]:
    """The objective to measure a file on: a flag's, else its own."""
    if name is not None:
        return name, read_assignments(settings)
    if file.objective is None:
        raise ValueError("the strategy file names no objective: --objective does")
    return file.objective["name"], dict(file.objective["settings"]) | read_assignments(settings)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False))
