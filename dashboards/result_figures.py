"""The figures of results: which series of a search or a comparison each figure gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from dashboards import figures
from dashboards.images_figure import Level, value_over_images
from dashboards.input import Anchor, Result
from dashboards.passes_figure import costs_vary, value_over_passes
from dashboards.schedule_figure import Searched, schedules
from dashboards.seeds_figure import best_fid_over_seeds
from dashboards.steps_figure import value_over_steps
from search.controls import RULE_OF_THUMB, best_control, best_searched
from search.measurement import error_of_mean, metric_label


def labelled(results: Sequence[Result]) -> dict[str, Result]:
    """Return the results by their label, with T if several were searched.

    Raises:
        ValueError: there is no result, or two results have the same label and T.
    """
    if not results:
        raise ValueError("expected at least one result for a report, got none")
    several = len({r.label for r in results}) < len(results)
    named: dict[str, Result] = {}
    for result in results:
        label = f"{result.label}, T = {result.strategy.steps}" if several else result.label
        if label in named:
            raise ValueError(f"expected one result of {label}, got two")
        named[label] = result
    return named


def colours_of(named: Mapping[str, Result]) -> dict[str, str]:
    """Return the colour of each label: one for each method of each search, grey for controls."""
    of_method = figures.colours(
        (r.label for r in named.values() if r.searched),
        (r.label for r in named.values() if not r.searched),
    )
    return {label: of_method[result.label] for label, result in named.items()}


def draw_tests(named: Mapping[str, Result]) -> go.Figure:
    """Draw the final tests of all results."""
    tests = {label: _test(result) for label, result in named.items()}
    return figures.final_test(tests, colours_of(named), _metric(named))


def draw_schedules(
    named: Mapping[str, Result], tokens: int, steps: int, only: Collection[str] | None = None
) -> go.Figure:
    """Draw the schedules of all results of T = `steps`, with what their searches tried.

    Args:
        named: the results by label.
        tokens: L.
        steps: T.
        only: the labels to draw; None draws all.
    """
    shown = named if only is None else only
    here = {k: r for k, r in named.items() if r.strategy.steps == steps and k in shown}
    winner = best_searched([*named.values()])
    tried = {
        label: Searched(result.bounds, result.good if result is winner else ())
        for label, result in here.items()
        if result.searched
    }
    drawn = {label: result.strategy for label, result in here.items()}
    return schedules(drawn, tokens, colours_of(named), tried)


def draw_progress(named: Mapping[str, Result], steps: int, metric: str) -> go.Figure:
    """Draw the progress of the searches of T = `steps` in a metric.

    The final tests and the controls to beat are drawn beside them if they have the same metric.

    Args:
        named: the results by label.
        steps: T.
        metric: the name of the metric of the searches.
    """
    here = {label: r for label, r in named.items() if r.strategy.steps == steps}
    searches = searches_in(here, steps, metric)
    tested = {label: r for label, r in here.items() if r.metric == metric}
    best = best_control([*tested.values()])
    return figures.best_fid(
        {label: result.evaluations for label, result in searches.items()},
        colours_of(named),
        metric_label(metric),
        tests={label: _test(result) for label, result in tested.items() if label in searches},
        levels={
            label: result.value
            for label, result in tested.items()
            if result is best or result.method == RULE_OF_THUMB
        },
    )


def searches_in(named: Mapping[str, Result], steps: int, metric: str) -> dict[str, Result]:
    """Return the searches of T = `steps` that measured in a metric, by label."""
    return {
        label: r
        for label, r in named.items()
        if len(r.evaluations) and (r.strategy.steps, r.search_metric) == (steps, metric)
    }


def draw_seeds(
    groups: Mapping[str, Sequence[Result]], named: Mapping[str, Result], metric: str
) -> go.Figure:
    """Draw the progress of searches that differ only by their seed.

    The final tests and the controls to beat are drawn beside them if they have the same metric.

    Args:
        groups: the results of each label, one for each search seed; all of one T.
        named: all results by label, controls among them.
        metric: the name of the metric of the searches; others are left out.
    """
    colour = colours_of(named)
    controls = [r for r in named.values() if not r.searched and r.metric == metric]
    best = best_control(controls)
    drawn = {label: of for label, of in groups.items() if of[0].search_metric == metric}
    return best_fid_over_seeds(
        {label: [r.evaluations for r in results] for label, results in drawn.items()},
        {label: colour[results[0].label] for label, results in drawn.items()},
        metric_label(metric),
        tests={label: over_seeds(of) for label, of in drawn.items() if of[0].metric == metric},
        levels={r.label: r.value for r in controls if r is best or r.method == RULE_OF_THUMB},
    )


def over_seeds(results: Sequence[Result]) -> figures.FinalTest:
    """Return the mean of final tests over search seeds, and its error from their spread.

    A single result has its own final test.
    """
    if len(results) == 1:
        return _test(results[0])
    values = [result.value for result in results]
    return figures.FinalTest(float(np.mean(values)), error_of_mean(values), values)


def draw_over_images(named: Mapping[str, Result], anchors: Sequence[Anchor]) -> go.Figure | None:
    """Draw the final tests over n: the winner, the rule of thumb and the best control.

    Returns:
        The figure, or None if the winner's value is known at one n only.
    """
    results = [*named.values()]
    winner, best = best_searched(results), best_control(results)
    shown = {
        label: r.over_images
        for label, r in named.items()
        if r.over_images and (r is winner or r is best or r.method == RULE_OF_THUMB)
    }
    if not shown:
        return None
    levels = [Level(anchor.label, anchor.value, anchor.images) for anchor in anchors]
    return value_over_images(shown, colours_of(named), _metric(named), levels)


def draw_steps(named: Mapping[str, Result]) -> go.Figure | None:
    """Draw the final tests of several T over their forward passes: searches and controls.

    Returns:
        The figure, or None if fewer than two T were searched.
    """
    results = [*named.values()]
    lengths = sorted({r.strategy.steps for r in results if r.searched})
    if len(lengths) < 2:
        return None
    found: dict[str, list[Result]] = {}
    for steps in lengths:
        here = [r for r in results if r.strategy.steps == steps]
        best = best_control(here)
        for result in (r for r in here if r.searched):
            found.setdefault(result.method, []).append(result)
        for result in here:
            if result.method == RULE_OF_THUMB:
                found.setdefault(RULE_OF_THUMB, []).append(result)
        if best is not None and best.method != RULE_OF_THUMB:
            found.setdefault("best control", []).append(best)
    searched = [label for label, of in found.items() if of[0].searched]
    colour = figures.colours(searched, [label for label in found if label not in searched])
    return value_over_steps(found, colour, _metric(named))


def draw_passes(named: Mapping[str, Result], steps: int, metric: str) -> go.Figure | None:
    """Draw the values that the searches of T = `steps` saw in a metric against forward passes.

    Returns:
        The figure, or None if nearly all strategies cost the same.
    """
    searches = searches_in(named, steps, metric)
    found = {label: result.evaluations for label, result in searches.items()}
    if not costs_vary(found):
        return None
    return value_over_passes(found, colours_of(named), metric_label(metric))


def _test(result: Result) -> figures.FinalTest:
    return figures.FinalTest(result.value, result.standard_error, result.values)


def _metric(named: Mapping[str, Result]) -> str:
    return metric_label(next(iter(named.values())).metric)
