"""The tables that commands print on stdout, each with the lines that explain it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from dashboards.cautions import meanings, warnings
from dashboards.formatting import ERRORS, describe_tests, difference, gigaflops, with_error
from dashboards.standing import same_first, standing
from search.controls import ranked
from search.measurement import metric_label
from trials.cli.printing import out, print_json

if TYPE_CHECKING:
    from search.final_test import FinalTest
    from search.strategy import GenerationStrategy
    from search.strategy_file import StrategyFile
    from trials.publishing.publish import Published
    from trials.results.anchors import Anchor
    from trials.results.front import FrontPoint
    from trials.results.results import MethodResult
    from trials.searches.transfer import Transferred

WIDE = 100
"""On terminals of fewer columns, results have only the columns that fit beside whole names."""


def show_results(
    results: list[MethodResult],
    anchors: Sequence[Anchor],
    as_json_: bool,
    published: Published | None = None,
    name: str | None = None,
) -> None:
    """Print final tests, the best first, as a table or as one JSON object.

    Args:
        results: of one search, or of several that are compared.
        anchors: the reference values shown between the results.
        as_json_: print one JSON object in place of the table.
        published: the published search that the results belong to, if they belong to one.
        name: of that search.
    """
    said = warnings(results, anchors)
    if as_json_:
        print_json(_results_as_json(results, anchors, said, published, name))
        return
    best_first = ranked(results)
    wide = out.width >= WIDE
    out.print(_results_table(best_first, anchors, wide))
    for line in _notes_on_results(best_first, anchors, said, wide):
        out.print(line)
    for line in _notes_on_search(best_first, results, published):
        out.print(line)


def _results_as_json(
    results: list[MethodResult],
    anchors: Sequence[Anchor],
    said: list[str],
    published: Published | None,
    name: str | None,
) -> dict[str, Any]:
    from trials.results.anchors import as_json as anchors_as_json
    from trials.results.results import as_json

    report = None if published is None else published.report
    paths = published and {"best": str(published.best), "report": report and str(report)}
    told: dict[str, Any] = {"name": name, **(paths or {}), "results": as_json(results)}
    told |= {"anchors": anchors_as_json(anchors), "warnings": said}
    return told if published is None else told | {"standing": standing(results)}


def _results_table(
    best_first: Sequence[MethodResult], anchors: Sequence[Anchor], wide: bool
) -> Table:
    """One row a result in the given order, with the anchors where their values belong."""
    columns = _columns(best_first, wide)
    table = Table(*columns)
    beside = sorted(anchors, key=lambda anchor: anchor.value)
    for r in best_first:
        while beside and not beside[0].value > r.value:
            table.add_row(beside[0].label, with_error(beside.pop(0).value, None))
        table.add_row(*(cell(r) for cell in columns.values()))
    for anchor in beside:
        table.add_row(anchor.label, with_error(anchor.value, None))
    return table


def _columns(
    best_first: Sequence[MethodResult], wide: bool
) -> dict[str, Callable[[MethodResult], str]]:
    """The columns of results by their headings; on a narrow terminal those that matter most."""
    columns: dict[str, Callable[[MethodResult], str]] = {
        "method": lambda r: r.label if r.searched else f"{r.label} (control)",
        f"final test {metric_label(best_first[0].metric)}": lambda r: with_error(
            r.value, r.standard_error
        ),
        "from the best": lambda r: difference(r, best_first[0]),
    }
    if wide:
        columns["search saw"] = _seen
        columns["images"] = lambda r: f"{r.images:,}" if r.searched else ""
    columns["passes"] = lambda r: str(r.forward_passes)
    if wide:
        columns["s"] = lambda r: f"{r.seconds:.0f}" if r.searched else ""
    if wide and _know_flops(best_first):
        columns["GFLOPs"] = lambda r: gigaflops(r.flops)
    if _trained_models(best_first):
        columns["trained with"] = lambda r: "" if r.training is None else str(r.training)
    return columns


def _seen(result: MethodResult) -> str:
    """What the search saw, with its metric where the final test has another one."""
    if result.search_value is None:
        return ""
    same = result.search_metric == result.metric
    return f"{result.search_value:.4g}" + ("" if same else f" {metric_label(result.search_metric)}")


def _know_flops(results: Sequence[MethodResult]) -> bool:
    return any(r.flops is not None for r in results)


def _trained_models(results: Sequence[MethodResult]) -> bool:
    return any(r.training is not None for r in results)


def _notes_on_results(
    best_first: Sequence[MethodResult], anchors: Sequence[Anchor], said: list[str], wide: bool
) -> list[str]:
    """The lines that explain the columns and rows of the table, and warn of its numbers."""
    tests = describe_tests(best_first)
    lines = [f"final test on seeds that no search saw: {test}" for test in tests]
    if len(tests) > 1:
        lines.append(
            "the final tests differ, and their numbers depend on n: compare only rows of one test"
        )
    meant = ["passes: forward passes for each image"]
    if wide:
        meant = ["images: generated by the search", *meant, "s: seconds of all its evaluations"]
    else:
        meant.append("a wider terminal, and --json, also show images and seconds")
    if wide and _know_flops(best_first):
        meant.append("GFLOPs: for each image, including its decoding")
    lines.append("; ".join(meant))
    lines += [f"{what}: {words}" for what, words in meanings(anchors).items()]
    lines += said
    if _trained_models(best_first):
        lines.append(
            "each search trained its model with one seed: ± includes the noise of measuring the "
            "model, but not that of training it"
        )
    return lines


def _notes_on_search(
    best_first: Sequence[MethodResult], results: list[MethodResult], published: Published | None
) -> list[str]:
    """The lines that compare methods with controls, and say which searches had converged."""
    lines = []
    if published and published.first:
        lines.append(same_first(published.first))
    if published and (line := standing(results)):
        lines.append(line)
    return lines + [
        f"{r.label} had converged after {r.converged} of {len(r.evaluations)} "
        "evaluations: a larger budget would hardly find anything better"
        for r in best_first
        if r.converged is not None
    ]


def how_measured(images: int, seeds: Sequence[int]) -> str:
    """What a test is measured with: "n = 2000, seeds 1, 2, 3"."""
    named = ", ".join(map(str, seeds))
    return f"n = {images}, {'seed' if len(seeds) == 1 else 'seeds'} {named}"


def error_words(test: FinalTest, before: str) -> str:
    """What ± means in a test, after the text `before`; empty where the test has no error."""
    return "" if test.standard_error_from is None else before + ERRORS[test.standard_error_from]


def show_front(name: str, front: Sequence[FrontPoint], measured: int, as_json_: bool) -> None:
    """Print the Pareto front of a search.

    Args:
        name: of the search.
        front: its points, at least one.
        measured: how many strategies were measured to find the front.
        as_json_: print one JSON object in place of a table.
    """
    if as_json_:
        points = [point.to_json() for point in front]
        print_json({"name": name, "measured": measured, "front": points})
        return
    metric, search_metric = front[0].test.metric, front[0].candidate.search_metric
    saw = "" if metric == search_metric else f" {metric_label(search_metric)}"
    table = Table("passes", f"final test {metric_label(metric)}", f"search saw{saw}", "found by")
    for point in front:
        found, test = point.candidate, point.test
        table.add_row(
            str(found.forward_passes),
            with_error(test.value, test.standard_error),
            "" if found.search_value is None else f"{found.search_value:.4g}",
            found.found_by if found.searched else f"{found.found_by} (control)",
        )
    out.print(table)
    test = front[0].test
    out.print(
        f"none of the {measured} measured strategies beats these in both columns; each method's "
        "winner, the controls, and the front of what the searches saw were measured"
    )
    out.print(
        f"{how_measured(test.images, test.seeds)} that no search saw"
        + error_words(test, ", ")
        + "; passes: forward passes for each image"
    )


def show_transfer(
    file: StrategyFile, rows: Mapping[int, Sequence[Transferred]], as_json_: bool
) -> None:
    """Print the final tests of a strategy that was transferred to another model or other T."""
    from trials.searches.transfer import gaps_kept

    if as_json_:
        told = [
            {
                "name": row.name,
                "steps": steps,
                **row.test.printed(),
                "gap_kept": kept,
                "strategy": row.strategy.to_json(),
            }
            for steps, found in rows.items()
            for row, kept in zip(found, gaps_kept(found), strict=True)
        ]
        print_json({"transfers": told})
        return
    test = next(iter(rows.values()))[0].test
    table = Table(
        "T", "strategy", f"final test {metric_label(test.metric)}", "of the gap", "passes"
    )
    for steps, found in rows.items():
        for row, kept in zip(found, gaps_kept(found), strict=True):
            fid = with_error(row.test.value, row.test.standard_error)
            share = "" if kept is None else f"{kept:.0%}"
            table.add_row(str(steps), row.name, fid, share, str(row.test.forward_passes))
    out.print(table)
    out.print(
        how_measured(test.images, test.seeds)
        + error_words(test, ", ")
        + "; of the gap: share of the gap between the rule of thumb and the best at that T"
    )
    if file.test is not None:
        own = with_error(file.test.value, file.test.standard_error)
        out.print(
            f"on its own model, T = {file.generation.steps}: "
            f"{metric_label(file.test.metric)} {own}, "
            f"n = {file.test.images}"
        )


def show_strategy(file: StrategyFile, tokens: int | None) -> None:
    """Print the schedules of a strategy file step by step, its cost and its test.

    Args:
        file: the strategy file.
        tokens: L, the tokens of an image, to count those that are masked; None does not count them.
    """
    generation = file.generation
    if file.search is not None:
        on = "" if file.date is None else f", {file.date}"
        out.print(f"found by {file.search['optimiser']}, study {file.search['study']}{on}")
    out.print(_schedules_table(generation, tokens))
    flops = file.image_flops()
    cost = "" if flops is None else f", {gigaflops(flops)} GFLOPs with its decoding"
    out.print(f"{generation.forward_passes()} forward passes an image{cost}")
    for name, value in generation.unusual_choices().items():
        out.print(f"{name} = {value}")
    if file.training is not None:
        out.print(f"its model was trained with mask ratios of the distribution {file.training}")
    if (test := file.test) is not None:
        fid = with_error(test.value, test.standard_error)
        errors = error_words(test, "; ")
        out.print(
            f"{metric_label(test.metric)} {fid}, {how_measured(test.images, test.seeds)}{errors}"
        )
    if file.best_control is not None:
        test = file.best_control.test
        fid = with_error(test.value, test.standard_error)
        name = f"{file.best_control.name}: {metric_label(test.metric)}"
        out.print(f"the best control in the same test, {name} {fid}")


def _schedules_table(strategy: GenerationStrategy, tokens: int | None) -> Table:
    """One row a step: the value of each schedule, and the masked tokens where L is known."""
    table = Table("step", *strategy.schedules())
    counts = None if tokens is None else strategy.masked_counts(tokens)
    if counts is not None:
        table.add_column(f"masked of {tokens}")
    schedules = [strategy.schedule(name) for name in strategy.schedules()]
    for t in range(strategy.steps):
        row = [f"{schedule[t]:.4f}" if t < len(schedule) else "0" for schedule in schedules]
        table.add_row(str(t), *row, *([] if counts is None else [str(counts[t])]))
    return table
