"""A strategy's schedules as one PNG, for pages that take pictures and no Plotly."""

from __future__ import annotations

import io
from collections.abc import Mapping

from dashboards.schedule_figure import CHANCE
from search.schedules import SCHEDULES
from search.strategy import GenerationStrategy, schedules_of

COLOURS = ("#7d828a", "#0072b2", "#d55e00", "#009e73", "#b2559b")
MARKERS = ("s", "o", "D", "^", "v")
WIDTH, ROW_HEIGHT, LEGEND_HEIGHT, DOTS = 8.0, 2.6, 0.4, 110
"""Inches, inches, inches, and dots an inch."""


def schedules_png(strategies: Mapping[str, GenerationStrategy]) -> bytes:
    """The schedules over the steps t = 0 … T-1 as a PNG file, a panel each.

    A remask temperature above CHANCE is drawn at the upper edge.

    Args:
        strategies: by label, drawn one above the other; at least one.
    """
    # Figure, not pyplot, which would look for a screen; imported late, for it takes half a second.
    from matplotlib.figure import Figure

    names = schedules_of(strategies.values())
    rows = -(-len(names) // 2)
    height = ROW_HEIGHT * rows + LEGEND_HEIGHT
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS)
    # Fixed margins: matplotlib's own layouts draw everything twice to find them.
    figure.subplots_adjust(
        left=0.07,
        right=0.98,
        wspace=0.18,
        hspace=0.5,
        bottom=0.5 / height,
        top=1 - (LEGEND_HEIGHT + 0.3) / height,
    )
    panels = figure.subplots(rows, 2, squeeze=False).flat
    for panel, name in zip(panels, names, strict=False):
        drawn = {label: s.schedule(name) for label, s in strategies.items()}
        values = [v for line in drawn.values() for v in line if v <= CHANCE]
        edge = 1.1 * max(values, default=CHANCE)
        for place, (label, line) in enumerate(drawn.items()):
            panel.plot(
                range(len(line)),
                [min(value, edge) for value in line],
                label=label,
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                linestyle="--" if place == 0 and len(drawn) > 1 else "-",
            )
        panel.set_title(name.replace("_", " "), fontsize=11)
        panel.set_xlabel("step t")
        panel.set_ylim(0, 1.05 * edge or None)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        if not SCHEDULES[name].length(max(s.steps for s in strategies.values())):
            panel.text(0.5, 0.5, "no value: the only step fixes it", ha="center")
    for panel in panels:  # what is left of them
        panel.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=4, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
