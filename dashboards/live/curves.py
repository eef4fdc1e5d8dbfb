"""The figure of a search on the live page: the best value so far over the images generated."""

from __future__ import annotations

import html

import plotly.graph_objects as go

from dashboards.figures import CONTROL_COLOUR, colours, dash_of, styled, value_axis
from dashboards.live.input import Search
from search.controls import RULE_OF_THUMB, start_and_best
from search.measurement import metric_label

HEIGHT = 300
"""Of a figure, in pixels."""


def colours_of(search: Search) -> dict[str, str]:
    """Return the colour of each method, which is its colour in the report as well."""
    return colours(method.method for method in search.studies)


def curves(search: Search) -> go.Figure:
    """Draw the best value so far of each method, and lines for the controls that it has to beat.

    All that changes as the search goes on is in the traces: a page that renews only these leaves
    the reader's zoom as it is.

    Args:
        search: the search.
    """
    figure, colour = go.Figure(), colours_of(search)
    shown, end = [control.value for control in start_and_best(search.seen_controls).values()], 0
    for method in search.studies:
        if not method.curve:
            continue
        name, style = html.escape(method.method), colour[method.method]
        images, best = zip(*method.curve, strict=True)
        shown, end = [*shown, *best], max(end, *images)
        figure.add_scatter(
            x=images,
            y=best,
            mode="lines",
            name=name,
            line={"color": style, "width": 2.4, "shape": "hv", "dash": dash_of(style)},
            hovertemplate=f"best %{{y:.4g}} after %{{x:,}} images<extra>{name}</extra>",
        )
    for control, found in start_and_best(search.seen_controls).items():
        name, dash = html.escape(control), "dash" if control == RULE_OF_THUMB else "dot"
        figure.add_scatter(
            x=[0, end],
            y=[found.value, found.value],
            mode="lines",
            name=name,
            line={"color": CONTROL_COLOUR, "width": 1.4, "dash": dash},
            hovertemplate=f"%{{y:.4g}}<extra>{name}</extra>",
        )
    figure.update_xaxes(title_text="images generated", rangemode="tozero", tickformat="~s")
    figure.update_yaxes(title_text=metric_label(search.metric), **value_axis(shown))
    if not figure.data:
        said = "" if search.evaluations else "no evaluations yet"
        figure.add_annotation(text=said, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False).update_yaxes(visible=False)
    margin = {"l": 48, "r": 12, "t": 28, "b": 44}
    # The revision keeps a method hidden that the reader hid in the legend.
    return styled(figure, HEIGHT).update_layout(
        showlegend=True, margin=margin, uirevision=search.name
    )
