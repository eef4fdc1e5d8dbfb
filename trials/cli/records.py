"""The commands on recorded searches, such as `autonat list`, `compare`, `report` and `front`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from search.files import named_os_errors
from search.measurement import metric_label
from search.names import require_distinct
from search.public_yaml import read_public, write_public
from search.strategy_file import StrategyFile
from trials.cli.flags import (
    App,
    JsonFlag,
    LabFlag,
    NameArgument,
    NamesArgument,
    RecordFlag,
    TestImagesFlag,
    TestSeedsFlag,
    TrackingFlag,
    read_seeds,
)
from trials.cli.printing import INTERRUPTED, note, out, print_json
from trials.cli.tables import show_front, show_results
from trials.lab import DEFAULT_LAB, Lab, find_strategy, results_folder
from trials.progress import LiveProgress, say

if TYPE_CHECKING:
    from search.final_test import FinalTest
    from search.strategy import GenerationStrategy

app = App()


@app.command("list")
def list_(
    lab: LabFlag = DEFAULT_LAB, record_url: RecordFlag = None, as_json_: JsonFlag = False
) -> None:
    """List the searches of a lab, the latest first."""
    from trials.results.listing import searches

    where = Lab.at(lab, record_url)
    found = searches(where if record_url else where.existing(), lambda _, line: note(line))
    if as_json_:
        print_json([search.to_json() for search in found])
        return
    if not found:
        say(f"no searches yet in {where.folder}; autonat search starts one")
        return
    table = Table()
    # Never shortened, because other commands ask for the name.
    table.add_column("search", min_width=max(len(search.name) for search in found))
    for label in ("objective", "T", "methods", "evaluations", "state"):
        table.add_column(label)
    metrics = sorted({metric_label(name) for s in found for name in (s.metric, s.test_metric)})
    one = metrics[0] if len(metrics) == 1 else None
    for label in ("lowest seen", f"final test {one}" if one else "final test", "last evaluation"):
        table.add_column(label)
    for s in found:
        failed = f", {s.failed} failed" if s.failed else ""
        seen, tested = (
            "" if one else f" {metric_label(name)}" for name in (s.metric, s.test_metric)
        )
        table.add_row(
            s.name,
            s.objective if s.what == "generation" else f"{s.objective}, {s.what}",
            str(s.steps),
            ", ".join(s.methods),
            f"{s.evaluations + s.failed} of {s.budgeted}{failed}",
            s.state,
            "" if s.lowest_value is None else f"{s.lowest_value:.4g}{seen}",
            "" if s.value is None else f"{s.value:.4g}{tested}",
            "" if s.last is None else f"{s.last:%Y-%m-%d %H:%M}",
        )
    out.print(table)


@app.command()
def compare(
    names: NamesArgument,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Print the final tests of several searches side by side."""
    say(f"{', '.join(names)}: reading their records …")
    from trials.results.comparison import compared

    found = compared(Lab.at(lab, record_url), names)
    for name in names:
        if not any(r.search == name and r.test is not None for r in found.results):
            raise ValueError(
                f"search {name} has no final test yet; autonat show {name} says how it stands"
            )
    show_results(found.results, found.anchors, as_json_)


@app.command()
def export(
    name: NameArgument,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="OUT.json for a strategy file, OUT.yaml for the public code's form."
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="An optimiser or a control of the search. (default: the best optimiser)",
        ),
    ] = None,
    lab: LabFlag = DEFAULT_LAB,
) -> None:
    """Write the best strategy of a search, or that of one optimiser or control, to a file."""
    if target.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise ValueError(f"{target}: expected OUT.json or OUT.yaml")
    source = find_strategy(results_folder(lab, name), method or "best")
    if not source.parent.is_dir():
        raise ValueError(f"{name!r} is no search with results in {lab}; autonat list prints them")
    if method is not None and not source.exists():
        known = sorted(path.stem for path in source.parent.glob("*.json"))
        raise ValueError(
            f"search {name} has no method {method!r}; known: {', '.join(known) or 'none'}"
        )
    file = StrategyFile.read(source)
    with named_os_errors(target):
        if target.suffix.lower() in (".yaml", ".yml"):
            write_public(target, file.generation)
        else:
            file.write(target)
    out.print(str(target))


@app.command("import")
def import_(
    public: Annotated[
        Path, typer.Argument(metavar="PUBLIC.yaml", help="A YAML file of AutoNAT's public code.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.json", help="The strategy file to write.")],
) -> None:
    """Turn a YAML file of AutoNAT's public code into a strategy file."""
    strategy = read_public(public)
    with named_os_errors(target):
        StrategyFile(strategy).write(target)
    out.print(str(target))


@app.command()
def report(
    names: NamesArgument,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Write the strategy files and the HTML report of a search again, or one report of several.

    Of several searches, only the report is written: what they have in common, where they differ,
    and their final tests, progress and schedules side by side.
    """
    if len(names) > 1:
        say(f"{', '.join(names)}: writing one report of them …")
        from trials.publishing.comparing import write_comparison

        out.print(str(write_comparison(Lab.at(lab, record_url, tracking_uri), names)))
        return
    (name,) = names
    say(f"{name}: writing its files and its report again; importing PyTorch and MLflow …")
    from trials.cli.preparing import prepared_live
    from trials.objectives.objective import load_objective
    from trials.publishing.publish import publish, show_nothing
    from trials.publishing.publish_alternation import publish_alternation
    from trials.record.kinds import what_is_searched
    from trials.record.renaming import refuse_half_renamed
    from trials.record.searches import alternation_names, recorded_settings, search_records
    from trials.results.rounds import recorded_rounds
    from trials.searches.reading import validated
    from trials.tracking.mirror import Mirror

    where = Lab.at(lab, record_url, tracking_uri)
    refuse_half_renamed(where.record_url, name)
    if name in alternation_names(where.record_url):
        settings = validated(recorded_settings(where.record_url, name) | {"name": name, "lab": lab})
        rounds = recorded_rounds(where, name)
        if not rounds:
            raise ValueError(f"alternation {name}: no round is done")
        made = partial(load_objective, settings.objective, settings.objective_settings)
        mirror = Mirror(where)
        written = publish_alternation(where, name, rounds, made, mirror, show_nothing, note).report
    else:
        records = search_records(where.record_url, name)
        described = records[0].settings["objective"]
        told = (described["name"], described["settings"])
        if what_is_searched(records[0].settings) == "generation":
            made = partial(prepared_live, *told, where)
        else:  # the search trained its models, which are in the lab's store
            made = partial(load_objective, *told)
        written = publish(where, name, records, made, Mirror(where), show_nothing, note).report
    if written is None:
        raise typer.Exit(2)
    out.print(str(written))


@app.command()
def sync(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The name of one search. (default: all searches)"),
    ] = None,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Add to MLflow what it lacks of recorded searches, after an outage or a crash."""
    say("bringing MLflow up to date with the record; importing it …")
    from trials.publishing.mlflow_runs import complete
    from trials.publishing.publish_alternation import complete_alternation
    from trials.record.databases import without_password
    from trials.record.hold import driver_of
    from trials.record.kinds import alternation_study
    from trials.record.searches import alternation_names, halves_of, search_names, search_records
    from trials.results.rounds import recorded_rounds
    from trials.tracking.mirror import Mirror

    where = Lab.at(lab, record_url, tracking_uri)
    if record_url is None:
        where.existing()
    url = where.record_url
    searches, alternations = search_names(url), alternation_names(url)
    if name is not None:
        searches = halves_of(url, name) if name in alternations else [name]
        alternations = [name] if name in alternations else []
    mirror, added = Mirror(where), 0
    for search_name in searches:
        records = search_records(where.record_url, search_name)
        added += sum(mirror.sync(record) for record in records)
        if driver_of(url, [records[0].name]) is not None:
            continue
        if (where.results(search_name) / "best.json").exists():
            complete(where, search_name, records, mirror, note)
        else:
            for record in records:  # their driver was killed
                mirror.end(record, "KILLED")
    for alternation in alternations:
        if driver_of(url, [alternation_study(alternation)]) is not None:
            continue
        if (where.results(alternation) / "best.json").exists():
            rounds = recorded_rounds(where, alternation)
            complete_alternation(where, alternation, rounds, mirror)
        else:
            mirror.end_alternation(alternation, "KILLED")
    out.print(f"{added} evaluations added to {without_password(where.tracking_uri)}")


@app.command()
def tabulate(
    names: NamesArgument,
    target: Annotated[
        Path,
        typer.Option("--out", metavar="OUT.parquet", help="The table to write, a parquet file."),
    ],
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
) -> None:
    """Turn searches into a table that `--objective tabulated --set table=OUT` replays."""
    say(f"{target}: writing a table of {', '.join(names)} …")
    from trials.objectives.tabulated import tabulate as tabulate_records
    from trials.record.kinds import SEARCH
    from trials.record.searches import search_records

    if target.suffix != ".parquet":
        raise ValueError(f"--out: expected a name that ends in .parquet, got {target}")
    require_distinct("searches", names)
    where = Lab.at(lab, record_url)
    records = [record for name in names for record in search_records(where.record_url, name)]
    count = tabulate_records([r for r in records if r.settings["kind"] == SEARCH], target)
    out.print(f"{target}  {count} evaluations")


@app.command()
def front(
    name: NameArgument,
    images: TestImagesFlag = None,
    seeds: TestSeedsFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Measure the Pareto front: the best strategies by forward passes, on seeds no search saw."""
    say(f"{name}: measuring its Pareto front; importing PyTorch …")
    from trials.objectives.measured import replicate
    from trials.objectives.other_metric import measuring_in
    from trials.objectives.preparing import prepared
    from trials.record.searches import search_records
    from trials.results.front import candidates, measured_front, tested_already

    where = Lab.at(lab, record_url)
    records = search_records(where.record_url, name)
    settings, described = records[0].settings["search"], records[0].settings["objective"]
    n = settings["test_images"] if images is None else images
    chosen = settings["test_seeds"] if seeds is None else read_seeds("--seeds", seeds)
    found = candidates(records)
    tests = tested_already(records, n, chosen)
    to_measure = [c.strategy for c in found if c.strategy not in tests]
    with LiveProgress() as progress:
        if to_measure:
            made = prepared(described["name"], described["settings"], where.folder, progress)
            made = measuring_in(made, settings.get("test_metric"))

        def measure(strategy: GenerationStrategy) -> FinalTest:
            if strategy not in tests:
                place = f"strategy {to_measure.index(strategy) + 1} of {len(to_measure)}"
                report_ = progress.report(f"front, {place}")
                tests[strategy], _ = replicate(made, strategy, n, chosen, report_)
            return tests[strategy]

        interrupted = False
        try:
            front_, failed = measured_front(found, measure)
        except KeyboardInterrupt:
            found, interrupted = [c for c in found if c.strategy in tests], True
            if not found:
                raise
            front_, failed = measured_front(found, measure)
        for candidate, reason in failed:
            progress.say(
                f"note: a strategy of {candidate.found_by} could not be measured: {reason}"
            )
    measured = len(found) - len(failed)
    show_front(name, front_, measured, as_json_)
    if interrupted:
        say(f"autonat: interrupted; this is the front of the {measured} strategies measured before")
        raise typer.Exit(INTERRUPTED)
