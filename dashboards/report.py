"""The report of a comparison: a single HTML file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dashboards import figures
from dashboards.cautions import meanings, warnings
from dashboards.film import film_part
from dashboards.formatting import (
    combined_error,
    describe_tests,
    difference,
    gigaflops,
    is_noise,
    with_error,
)
from dashboards.input import Anchor, ClassGrid, Result
from dashboards.landscape import landscape
from dashboards.plotly import plotly_js
from dashboards.result_figures import (
    colours_of,
    draw_passes,
    draw_progress,
    draw_schedules,
    draw_tests,
    labelled,
)
from dashboards.sample_grids import sheets_part
from dashboards.standing import standing
from search.files import write_text
from search.measurement import metric_label
from search.strategy import GenerationStrategy, schedules_of


class Trainings(NamedTuple):
    """The trainings of a search, with a table as described in `landscape`."""

    mask_ratio_distribution: str
    table: pd.DataFrame


def write_report(
    path: Path,
    results: Sequence[Result],
    *,
    title: str,
    tokens: int,
    facts: Mapping[str, str],
    trainings: Trainings | None = None,
    anchors: Sequence[Anchor] = (),
    unfinished: str | None = None,
    provenance: Mapping[str, str] | None = None,
    strategy_file: str | None = None,
    real_images: ClassGrid | None = None,
) -> Path:
    """Write the report, atomically.

    Args:
        path: the path of the HTML file; its folder must exist.
        results: the result of each method and T, at least one.
        title: the title of the page.
        tokens: L, the number of tokens of an image.
        facts: what was searched, on which data and under which protocol, in the order to show.
        trainings: the trainings, if models were trained for evaluations.
        anchors: reference values with which the results can be compared.
        unfinished: what is missing, in a sentence, if the search is not finished.
        provenance: where the numbers come from, in the order to show.
        strategy_file: the text of the best strategy's file, to be copied.
        real_images: real images of the classes of the samples.

    Returns:
        The path.

    Raises:
        ValueError: there is no result, two results have the same method and T, or the file cannot
            be written.
    """
    named = labelled(results)
    metric = metric_label(results[0].metric)
    colour = colours_of(named)
    pages = Environment(
        loader=PackageLoader("dashboards", "."), autoescape=True, undefined=StrictUndefined
    )
    text = pages.get_template("report.html").render(
        title=title,
        facts=facts,
        summary=_summary(named),
        standing=_standing_sentence(results),
        warnings=[line for line in (unfinished, *warnings(results, anchors)) if line],
        provenance=provenance or {},
        strategy_file=strategy_file,
        tests=describe_tests(results),
        metric=metric,
        errors_known=any(r.standard_error is not None for r in results),
        rows=_rows(named, colour, anchors),
        meaning=meanings(anchors),
        trained=any(r.training is not None for r in results),
        several_steps=len({r.strategy.steps for r in results}) > 1,
        final_test=_figure_html(draw_tests(named)),
        schedules=_schedules(named, tokens),
        best_fid=_best_fid(named),
        landscape=trainings
        and _figure_html(landscape(trainings.table, trainings.mask_ratio_distribution, metric)),
        film=film_part(named, colour),
        samples=sheets_part(_ranked(named), colour, real_images),
        plotly=Markup(plotly_js()),
    )
    return _write(path, text)


def _ranked(named: Mapping[str, Result]) -> list[tuple[str, Result]]:
    """Sort the results by value, lowest first; results without a number are last."""
    return sorted(named.items(), key=lambda item: (math.isnan(item[1].value), item[1].value))


def _summary(named: Mapping[str, Result]) -> str:
    """Return the main finding in a sentence."""
    label, best = _ranked(named)[0]
    if not math.isfinite(best.value):
        return "No method gave a number in the final test."
    number = with_error(best.value, best.standard_error)
    finding = f"Lowest {metric_label(best.metric)} in the final test: {label} with {number}"
    rule = next(
        (
            r
            for r in named.values()
            if r.method == figures.RULE_OF_THUMB and r.strategy.steps == best.strategy.steps
        ),
        None,
    )
    if rule is None or rule is best or not math.isfinite(rule.value):
        return finding + "."
    inside = is_noise(rule.value - best.value, combined_error(rule, best))
    noise = ", a difference inside the noise" if inside else ""
    return (
        finding + f"; the rule of thumb has {with_error(rule.value, rule.standard_error)}{noise}."
    )


def _standing_sentence(results: Sequence[Result]) -> str:
    """Return the end of the summary: how searches and controls compare in the same final test."""
    sentence = standing(results) if len(describe_tests(results)) == 1 else None
    return "" if sentence is None else f"; {sentence}."


def _rows(
    named: Mapping[str, Result], colour: Mapping[str, str], anchors: Sequence[Anchor]
) -> list[dict[str, Any]]:
    """Make the rows of the final table, sorted by value, anchors included."""
    rows = [(result.value, _row(label, result, named, colour)) for label, result in _ranked(named)]
    rows += [
        (a.value, {"anchor": True, "label": a.label, "fid": with_error(a.value, None)})
        for a in anchors
    ]
    return [row for _, row in sorted(rows, key=lambda row: (math.isnan(row[0]), row[0]))]


def _row(
    label: str, result: Result, named: Mapping[str, Result], colour: Mapping[str, str]
) -> dict[str, Any]:
    """Make a row of the final table, with numbers as text."""
    best = _ranked(named)[0][1]
    failed = int((result.evaluations["state"] == "FAIL").sum()) if result.searched else 0
    return {
        "anchor": False,
        "label": result.method,
        "training": "" if result.training is None else str(result.training),
        "colour": colour[label],
        "steps": result.strategy.steps,
        "kind": "search" if result.searched else "control",
        "fid": with_error(result.value, result.standard_error),
        "difference": difference(result, best),
        "best": result is best,
        "search_fid": "" if result.search_value is None else with_error(result.search_value, None),
        "evaluations": f"{len(result.evaluations):,}" if result.searched else "",
        "failed": f"({failed:,} failed)" if failed else "",
        "images": f"{result.images:,}" if result.searched else "",
        "forward_passes": result.forward_passes,
        "gigaflops": gigaflops(result.flops),
        "seconds": f"{result.seconds:,.0f}" if result.searched else "",
    }


def _schedules(named: Mapping[str, Result], tokens: int) -> list[dict[str, Any]]:
    """Make a figure for each T that was searched, and its numbers; controls of this T included."""
    sections = []
    for steps in sorted({r.strategy.steps for r in named.values() if r.searched}):
        drawn = {label: r.strategy for label, r in named.items() if r.strategy.steps == steps}
        rule = {figures.RULE_OF_THUMB: GenerationStrategy.maskgit(steps)}
        names = schedules_of(drawn.values())
        sections.append(
            {
                "steps": steps,
                "figure": _figure_html(draw_schedules(named, tokens, steps)),
                "schedules": [name.replace("_", " ") for name in names],
                "numbers": [
                    {
                        "label": label,
                        "counts": " ".join(str(n) for n in strategy.masked_counts(tokens)),
                        "choices": ", ".join(strategy.unusual_choices().values()),
                        "lists": [
                            " ".join(f"{v:.3g}" for v in strategy.schedule(name)) for name in names
                        ],
                    }
                    for label, strategy in (rule | drawn).items()
                ],
            }
        )
    return sections


def _best_fid(named: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Make a figure for each T that was searched."""
    searched = {r.strategy.steps for r in named.values() if len(r.evaluations)}
    sections = []
    for steps in sorted(searched):
        passes = draw_passes(named, steps)
        sections.append(
            {
                "steps": steps,
                "figure": _figure_html(draw_progress(named, steps)),
                "passes": passes and _figure_html(passes),
            }
        )
    return sections


def _figure_html(figure: go.Figure) -> Markup:
    return Markup(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config={"displayModeBar": False, "responsive": True},
        )
    )


def _write(path: Path, text: str) -> Path:
    try:
        write_text(path, text)
    except OSError as error:
        raise ValueError(f"report {path}: {error.strerror}") from None
    return path
