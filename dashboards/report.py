"""The report of one search or of several: a single HTML file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dashboards.cautions import meanings, warnings
from dashboards.evaluations import evaluations_data, packed
from dashboards.film import film_part
from dashboards.final_table import final_rows, ranked_by_value, winners_of_searches
from dashboards.formatting import (
    combined_error,
    common_decimals,
    decimals_seen,
    describe_tests,
    is_noise,
    with_error,
)
from dashboards.input import Anchor, ClassGrid, Result
from dashboards.landscape import landscape
from dashboards.plotly import plotly_js
from dashboards.result_figures import (
    colours_of,
    draw_over_images,
    draw_passes,
    draw_progress,
    draw_schedules,
    draw_seeds,
    draw_steps,
    draw_tests,
    labelled,
    over_seeds,
    searches_in,
)
from dashboards.sample_grids import sheets_part
from dashboards.sensitivity_figure import importance_figure, most_sensitive, sensitivity_figure
from dashboards.standing import standing
from search.controls import RULE_OF_THUMB, best_control, best_searched, or_last
from search.files import write_text
from search.measurement import metric_label
from search.sensitivity import Sensitivity
from search.strategy import GenerationStrategy, schedules_of


class Trainings(NamedTuple):
    """The trainings of a search, with a table as described in `landscape`."""

    mask_ratio_distribution: str
    table: pd.DataFrame


class Searches(NamedTuple):
    """What a report of several searches shows besides their results.

    Attributes:
        names: the names of the searches.
        links: the addresses of their own reports, relative to this one; by name, of those that
            have one.
        differences: the settings in which they differ: by label, the value of each search.
        groups: the results of each method, by label; one for each of the searches that differ only
            by their seed.
    """

    names: Sequence[str]
    links: Mapping[str, str]
    differences: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[Result]]


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
    sensitivity: Sensitivity | Mapping[str, float] | str | None = None,
    searches: Searches | None = None,
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
        sensitivity: of the winner; or the importance of each searched parameter, by name; or why
            neither is known, in a sentence. None leaves the section out.
        searches: what several searches have in common and in which they differ.

    Returns:
        The path.

    Raises:
        ValueError: there is no result, two results have the same method and T, or the file cannot
            be written.
    """
    named = labelled(results)
    seen = [*dict.fromkeys(r.search_metric for r in results if r.searched)] or [results[0].metric]
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
        **_metrics(results, seen),
        errors_known=any(r.standard_error is not None for r in results),
        rows=final_rows(named, colour, anchors),
        meaning=meanings(anchors),
        trained=any(r.training is not None for r in results),
        several_steps=len({r.strategy.steps for r in results}) > 1,
        final_test=_figure_html(draw_tests(named)),
        over_steps=_drawn(draw_steps(named)),
        over_images=_drawn(draw_over_images(named, anchors)),
        schedules=_schedules(named, tokens, winners_only=searches is not None),
        sensitivity=_sensitivity(sensitivity, named, colour),
        best_fid=_best_fid(named, searches, seen),
        searches=searches,
        over_seeds=_over_seeds(searches, named),
        evaluations=evaluations_data(named),
        landscape=trainings
        and _figure_html(
            landscape(trainings.table, trainings.mask_ratio_distribution, metric_label(seen[0]))
        ),
        film=film_part(named, colour),
        real=real_images is not None,
        samples=sheets_part(ranked_by_value(named), colour, real_images),
        plotly=packed(plotly_js()),
    )
    return _write(path, text)


def _metrics(results: Sequence[Result], seen: Sequence[str]) -> dict[str, Any]:
    """Name the metric of the final test, and those that the searches saw."""
    tested = results[0].metric
    return {
        "metric": metric_label(tested),
        "seen": metric_label(seen[0]) if len(seen) == 1 else "value",
        "seen_metrics": {
            name: {"label": metric_label(name), "decimals": decimals_seen(results, name)}
            for name in seen
        },
        "same_metric": set(seen) <= {tested},
        "tested_beside": tested in seen,
    }


def _summary(named: Mapping[str, Result]) -> str:
    """Return the main finding in a sentence."""
    label, best = ranked_by_value(named)[0]
    if not math.isfinite(best.value):
        return "No method gave a number in the final test."
    number = with_error(best.value, best.standard_error)
    finding = f"Lowest {metric_label(best.metric)} in the final test: {label} with {number}"
    rule = next(
        (
            r
            for r in named.values()
            if r.method == RULE_OF_THUMB and r.strategy.steps == best.strategy.steps
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


def _sensitivity(
    found: Sensitivity | Mapping[str, float] | str | None,
    named: Mapping[str, Result],
    colour: Mapping[str, str],
) -> dict[str, Any] | None:
    """Make the figure of sensitivity or importance, or say why there is none."""
    winner = best_searched([*named.values()])
    if found is None or winner is None:
        return None
    shade = next(colour[label] for label, result in named.items() if result is winner)
    metric = metric_label(winner.search_metric)
    section: dict[str, Any] = {
        "of": winner.label,
        "metric": metric,
        "missing": None,
        "model": None,
        "figure": None,
    }
    if isinstance(found, str):
        return section | {"missing": found}
    if not isinstance(found, Sensitivity):
        return section | {"figure": _figure_html(importance_figure(found, shade))}
    return section | {
        "figure": _figure_html(sensitivity_figure(found, shade, metric)),
        "most": most_sensitive(found, metric),
        "model": {"evaluations": found.evaluations, "explained": f"{found.explained:.0%}"},
    }


def _over_seeds(searches: Searches | None, named: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Make the rows of the methods over several search seeds, the lowest mean first."""
    several = {k: v for k, v in (searches.groups if searches else {}).items() if len(v) > 1}
    decimals = common_decimals(named.values())
    tests = {label: over_seeds(results) for label, results in several.items()}
    return [
        {
            "label": label,
            "seeds": len(several[label]),
            "fid": with_error(test.value, test.standard_error, decimals),
            "lowest": with_error(min(finite, default=math.nan), None, decimals),
            "highest": with_error(max(finite, default=math.nan), None, decimals),
        }
        for label, test in sorted(tests.items(), key=lambda item: or_last(item[1].value))
        for finite in [[value for value in test.values if math.isfinite(value)]]
    ]


def _schedules(
    named: Mapping[str, Result], tokens: int, winners_only: bool = False
) -> list[dict[str, Any]]:
    """Make a figure for each T that was searched, and its numbers; controls of this T included.

    Args:
        named: the results by label.
        tokens: L.
        winners_only: only the best method of each search, and the best control.
    """
    sections = []
    kept = [*named.values()]
    if winners_only:
        kept = [r for r in (best_control(kept), *winners_of_searches(kept)) if r is not None]
    only = {label for label, result in named.items() if any(result is one for one in kept)}
    for steps in sorted({r.strategy.steps for r in named.values() if r.searched}):
        drawn = {k: r.strategy for k, r in named.items() if r.strategy.steps == steps and k in only}
        rule = {RULE_OF_THUMB: GenerationStrategy.maskgit(steps)}
        names = schedules_of(drawn.values())
        sections.append(
            {
                "steps": steps,
                "figure": _figure_html(draw_schedules(named, tokens, steps, only)),
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


def _best_fid(
    named: Mapping[str, Result], searches: Searches | None, seen: Sequence[str]
) -> list[dict[str, Any]]:
    """Make a figure for each T and metric that was searched.

    Searches that differ by their seed have a band.
    """
    several = len(seen) > 1
    lengths = {r.strategy.steps for r in named.values() if r.searched}
    seeds = searches is not None and any(len(of) > 1 for of in searches.groups.values())
    if searches is not None and seeds and len(lengths) == 1:
        drawn = {metric: draw_seeds(searches.groups, named, metric) for metric in seen}
        return [
            {
                "title": metric_label(m) if several else None,
                "figure": _figure_html(d),
                "passes": None,
            }
            for m, d in drawn.items()
        ]
    steps = sorted({r.strategy.steps for r in named.values() if len(r.evaluations)})
    return [
        {
            "title": f"T = {t}" + (f", {metric_label(metric)}" if several else ""),
            "figure": _figure_html(draw_progress(named, t, metric)),
            "passes": _drawn(draw_passes(named, t, metric)),
        }
        for t in steps
        for metric in seen
        if searches_in(named, t, metric)
    ]


def _drawn(figure: go.Figure | None) -> Markup | None:
    return None if figure is None else _figure_html(figure)


def _figure_html(figure: go.Figure) -> Markup:
    """A figure as data, which the page draws."""
    data = str(figure.to_json()).replace("<", "\\u003c")
    style = f"min-height: {figure.layout.height}px"
    return Markup(
        f'<div class="figure" style="{style}"><script type="application/json">{data}</script></div>'
    )


def _write(path: Path, text: str) -> Path:
    try:
        write_text(path, text)
    except OSError as error:
        raise ValueError(f"report {path}: {error.strerror}") from None
    return path
