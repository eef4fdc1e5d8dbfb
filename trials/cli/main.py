"""The command line: `autonat`. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 the doctor found what keeps a search from running, 2 bad input (one line says
what), 130 interrupted by Ctrl-C or SIGTERM (what was measured is kept).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from dashboards.formatting import ERRORS, gigaflops, with_error
from search.measurement import metric_label
from search.strategy_file import StrategyFile
from trials.cli.data import app as data_app
from trials.cli.flags import (
    App,
    JsonFlag,
    LabFlag,
    ObjectiveFlag,
    RayAddressFlag,
    RecordFlag,
    SetFlag,
    StrategyArgument,
    TrackingFlag,
    countable,
    finite,
    read_assignments,
    read_seeds,
)
from trials.cli.printing import note, out, print_json, spell_out
from trials.cli.records import app as records_app
from trials.cli.search import app as search_app
from trials.lab import DEFAULT_LAB, Lab
from trials.progress import LiveProgress, say
from trials.quiet import without_chatter

if TYPE_CHECKING:
    from trials.objectives.objective import Objective


HELP = """A laboratory for the schedules of masked image generators.

Start here: the first command shows all of it on small images of digits, in some 6 minutes; the
second searches on its own, and the third says what was found. `autonat COMMAND --help` explains a
command. Everything lies in one folder, the lab: `autonat-lab`, or what `--lab` names.

```
autonat demo
autonat search --steps 4 --name first
autonat list
```
"""
HEADINGS = {
    "Search": ("demo", "search", "train", "objectives", "doctor"),
    "What searches found": (
        *("list", "show", "compare", "front", "report", "dashboard", "sync", "tabulate"),
    ),
    "One strategy": ("evaluate", "sample", "transfer", "export", "import"),
    "Data of your own": ("tokenize", "embed", "statistics"),
}
"""What the commands are listed under, in the order of the help."""


class Commands(TyperGroup):
    """All commands; one that is interrupted says so, if it has nothing better to say."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """See `click.Group.list_commands`."""
        return [name for names in HEADINGS.values() for name in names]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """See `click.Group.get_command`."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            found = (heading for heading, names in HEADINGS.items() if cmd_name in names)
            command.rich_help_panel = next(found)  # type: ignore[attr-defined]
        return command

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("autonat: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = App(
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(search_app)
app.add_typer(records_app)
app.add_typer(data_app)


@app.command()
def train(
    study_file: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY.yaml", help="A study file whose objective is trained."),
    ] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    workers: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Workers that train one model together.")
    ] = 1,
    gpus_per_worker: Annotated[
        float,
        typer.Option(metavar="GPUS", min=0, callback=finite, help="GPUs that each of them holds."),
    ] = 0.0,
    ray_address: RayAddressFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Train the generator of an objective ahead of its searches, which then begin at once."""
    from trials.objectives.objective import describe
    from trials.searches.settings import read_settings

    given = {"objective": objective, "objective_settings": read_assignments("--set", settings)}
    study = read_settings({k: v for k, v in given.items() if v}, study_file)
    objective, values = study.objective, study.objective_settings
    say(f"{objective}: it is prepared; importing PyTorch …")
    try:
        made = _trained(objective, values, lab, workers, gpus_per_worker, ray_address)
    except KeyboardInterrupt:
        line = "interrupted; the same command resumes from the last checkpoint, if there is one"
        print(line, file=sys.stderr)
        raise typer.Exit(130) from None
    described = describe(objective, values, made)
    if as_json_:
        print_json(described)
    else:
        out.print(f"checkpoint {described['objective']['checkpoint']}")


@app.command()
def evaluate(
    strategy: StrategyArgument,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            min=1,
            help="Images generated for each seed. (default: as many as in the file's own test)",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="SEED,…", help="Seeds, such as 1,2,3. (default: those of the file's own test)"
        ),
    ] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Measure a strategy file again, on any seeds and with any number of images."""
    from trials.objectives.measured import replicate
    from trials.objectives.objective import describe, load_objective
    from trials.objectives.preparing import prepared
    from trials.results.results import fid_over_n
    from trials.searches.search_run import differences

    file = StrategyFile.read(strategy)
    chosen, n = (
        ([1, 2, 3], 2000) if file.test is None else (list(file.test.seeds), file.test.images)
    )
    chosen = chosen if seeds is None else read_seeds("--seeds", seeds)
    n = n if images is None else images
    name, values = _objective_of(file, objective, settings)
    say(f"{strategy}: {n:,} images a seed on {name}, seeds {chosen}; importing PyTorch …")
    file.generation.masked_counts(load_objective(name, values).tokens)
    with LiveProgress() as progress:
        made = prepared(name, values, Lab.open(lab).folder, progress)
        described = describe(name, values, made)
        for field, theirs in (("protocol", file.protocol), ("objective", file.objective)):
            if theirs is not None and differences(dict(theirs), described[field], field):
                line = differences(dict(theirs), described[field], field)[0]
                progress.say(f"note: not what the file was measured with: {line}")
        test, found = replicate(made, file.generation, n, chosen, progress.report("evaluating"))
    smaller, metric = fid_over_n(found), metric_label(test.metric)
    if as_json_:
        seconds = round(sum(m.seconds for m in found), 3)
        more = {"protocol": described["protocol"], "seconds": seconds, "fid_at": smaller}
        print_json(test.printed() | more)
    else:
        out.print(
            f"{metric} {with_error(test.value, test.standard_error)}, n = {n}, seeds {chosen}, "
            f"{test.forward_passes} forward passes an image"
            + ("" if test.standard_error_from is None else f"; {ERRORS[test.standard_error_from]}")
        )
        for label, fid in smaller.items():
            out.print(f"{metric} {fid:.4g} at n = {label}, out of the same images")


@app.command()
def show(
    strategy: Annotated[
        Path,
        typer.Argument(metavar="STRATEGY.json|NAME", help="A strategy file, or a search's name."),
    ],
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="L",
            min=1,
            callback=countable,
            help="Tokens of an image, to count those in force. (default: the file's)",
        ),
    ] = None,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Print the schedules of a strategy file; or what became of a search, and what failed in it."""
    if strategy.suffix != ".json" and not strategy.is_file():
        from trials.cli.search_state import show_search

        show_search(Lab.at(lab, record_url), str(strategy), as_json_)
        return
    file = StrategyFile.read(strategy)
    if as_json_:
        print_json(file.to_json())
        return
    length = (file.objective or {}).get("tokens") if tokens is None else tokens
    generation = file.generation
    table = Table("step", *generation.schedules())
    counts = None if length is None else generation.masked_counts(length)
    if counts is not None:
        table.add_column(f"masked of {length}")
    for t in range(generation.steps):
        values = [generation.schedule(name) for name in generation.schedules()]
        row = [f"{schedule[t]:.4f}" if t < len(schedule) else "0" for schedule in values]
        table.add_row(str(t), *row, *([] if counts is None else [str(counts[t])]))
    out.print(table)
    flops = file.image_flops()
    cost = "" if flops is None else f", {gigaflops(flops)} GFLOPs with its decoding"
    out.print(f"{generation.forward_passes()} forward passes an image{cost}")
    for name, value in generation.unusual_choices().items():
        out.print(f"{name} = {value}")
    if file.training is not None:
        out.print(f"mask ratios in training: {file.training}")
    if file.test is not None:
        seeds = ", ".join(map(str, file.test.seeds))
        fid = with_error(file.test.value, file.test.standard_error)
        error = (
            ""
            if file.test.standard_error_from is None
            else f"; {ERRORS[file.test.standard_error_from]}"
        )
        out.print(
            f"{metric_label(file.test.metric)} {fid}, n = {file.test.images}, seeds {seeds}{error}"
        )
    if file.best_control is not None:
        test = file.best_control.test
        fid = with_error(test.value, test.standard_error)
        name = f"{file.best_control.name}: {metric_label(test.metric)}"
        out.print(f"the best control in the same test, {name} {fid}")


@app.command()
def sample(
    strategy: StrategyArgument,
    picture: Annotated[Path, typer.Argument(metavar="OUT.png", help="The picture to write.")],
    images: Annotated[
        int, typer.Option(metavar="IMAGES", min=1, help="Images in the picture.")
    ] = 40,
    seed: Annotated[
        int, typer.Option(metavar="SEED", min=0, max=2**32 - 1, help="Seed of the images.")
    ] = 0,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = DEFAULT_LAB,
) -> None:
    """Draw images that a strategy generates, as one picture."""
    say(f"{strategy}: {images} images are drawn; importing PyTorch …")
    from dashboards.samples import grid, png
    from trials.cli.preparing import prepared_live
    from trials.objectives.objective import Samples, sampled

    file = StrategyFile.read(strategy)
    name, values = _objective_of(file, objective, settings)
    made = prepared_live(name, values, Lab.open(lab))
    file.generation.masked_counts(made.tokens)
    if not isinstance(made, Samples):
        raise ValueError(f"objective {name} lacks the method sample: it has no images to show")
    sheet = png(grid(sampled(made, file.generation, images, seed)), least_width=480)
    try:
        picture.write_bytes(sheet)
    except OSError as error:
        raise ValueError(f"{picture}: {error.strerror}") from None
    out.print(str(picture))


@app.command()
def dashboard(
    lab: LabFlag = DEFAULT_LAB, record_url: RecordFlag = None, tracking_uri: TrackingFlag = None
) -> None:
    """Serve the MLflow UI and optuna-dashboard on this machine, until Ctrl-C."""
    from dashboards.servers import open_dashboards
    from trials.record.databases import one_line
    from trials.tracking.client import anchor

    where = Lab.at(lab, record_url, tracking_uri)
    if not where.folder.is_dir() and not (record_url and tracking_uri):
        raise ValueError(f"lab {where.folder}: no such folder")
    with one_line("tracking", where.tracking_uri):
        unmoved = anchor(where)
    if unmoved is not None:
        note(unmoved)
    say("starting optuna-dashboard and MLflow, which takes some ten seconds …")
    open_dashboards(where.record_url, where.tracking_uri, where.artifacts)


@app.command()
def doctor(
    ray_address: RayAddressFlag = None,
    gpus_per_trial: Annotated[
        float,
        typer.Option(
            metavar="GPUS",
            min=0,
            callback=finite,
            help="GPUs that each evaluation of the search would hold.",
        ),
    ] = 0.0,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Try everything that a search needs, and say how to mend what is amiss (exit code 1)."""
    say("looking at the lab, the record, MLflow and Ray …")
    from trials.cli.doctor import examine

    findings = []
    for finding in examine(lab, record_url, tracking_uri, ray_address, gpus_per_trial):
        findings.append(finding)
        if not as_json_:
            out.print(f"{finding.state:8} {finding.what}: {finding.found}")
            if finding.advice:
                out.print(f"{'':8} {finding.advice}")
    if as_json_:
        print_json([asdict(finding) for finding in findings])
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


@app.command()
def objectives() -> None:
    """List the objectives that are installed, by name."""
    from trials.objectives.objective import OBJECTIVES

    for name, source in sorted(OBJECTIVES.sources().items()):
        out.print(f"{name}  {source}")


def main() -> None:
    """Run the command line."""
    spell_out()
    without_chatter()
    try:
        app()
    except ValueError as error:
        print(f"autonat: {error}", file=sys.stderr)
        sys.exit(2)


def _trained(
    objective: str,
    values: dict[str, Any],
    lab: Path,
    workers: int,
    gpus_per_worker: float,
    ray_address: str | None,
) -> Objective:
    from trials.cli.preparing import prepared_live
    from trials.objectives.objective import load_objective

    if workers == 1 and ray_address is None:
        return prepared_live(objective, values, Lab.open(lab))
    from trials.objectives.nat_objective import NATObjective
    from trials.runners.distributed_training import train_together

    made = load_objective(objective, values)
    if not isinstance(made, NATObjective):
        raise ValueError(f"objective {objective}: only NATs are trained on several workers")
    with LiveProgress() as progress:
        train_together(
            made,
            Lab.open(lab).folder,
            progress.report(f"training {objective}"),
            workers=workers,
            gpus=gpus_per_worker,
            address=ray_address,
        )
    return made


def _objective_of(
    file: StrategyFile, name: str | None, settings: list[str] | None
) -> tuple[str, dict[str, Any]]:
    """The objective to measure a file on: a flag's, else its own."""
    from trials.objectives.named_paths import with_absolute_paths
    from trials.objectives.objective import OBJECTIVES

    objective: Mapping[str, Any] | None = file.objective
    if name is not None:
        objective = {"name": name, "settings": {}}
    if objective is None:
        raise ValueError("the strategy file names no objective: --objective does")
    found = str(objective["name"])
    given = with_absolute_paths(OBJECTIVES.load(found), read_assignments("--set", settings))
    return found, dict(objective["settings"]) | given
