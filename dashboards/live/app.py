"""The server of the live page, built on Dash.

It answers only on this machine and under its own name, shows what it is given, and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import flask
import plotly.graph_objects as go
from dash import ALL, Dash, Input, Output, Patch, State, dcc, html, no_update
from plotly.utils import PlotlyJSONEncoder

from dashboards.live import page
from dashboards.live.curves import HEIGHT, curves
from dashboards.live.input import Elsewhere, Look
from dashboards.live.links import FILES, result_file
from dashboards.live.places import PLACES, placed

NAMES = ["127.0.0.1", "localhost"]
"""The names under which it answers; a page of the web that points its own name here gets none."""
NOTHING: dict[str, Any] = {"data": [], "layout": {}}
"""The figure of a place without a search."""
PARTS = ("above", "figure", "below", "place")
"""The parts of a place that are renewed, each only if it changed."""
REFRESH_SECONDS = 2
STALE = """
function(ticks, last) {
  const seconds = Math.round((Date.now() - (last || Date.now())) / 1000);
  return seconds < 30 ? "" :
    `No answer for ${seconds} s: is autonat dashboard still running?`;
}
"""
"""Runs in the browser: says that the server is gone."""
STAMP = "function(children) { return Date.now(); }"


def live_server(read: Callable[[], Look], lab: str, elsewhere: Elsewhere) -> flask.Flask:
    """Make the server of the live page.

    Args:
        read: returns what there is to see; called for every refresh, from several threads.
        lab: what the page calls the lab.
        elsewhere: where the other dashboards and the files of the searches are.
    """
    app = Dash(
        "autonat",
        title="autonat: searches",
        update_title="",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        enable_mcp=False,
        add_log_handler=False,
    )
    app.layout = _layout()

    @app.callback(
        Output("head", "children"),
        Output("tables", "children"),
        Output("known", "data"),
        Output({"above": ALL}, "children"),
        Output({"figure": ALL}, "figure"),
        Output({"below": ALL}, "children"),
        Output({"place": ALL}, "style"),
        Input("tick", "n_intervals"),
        Input("address", "search"),
        State("known", "data"),
    )
    def refresh(ticks: int | None, search: str | None, known: dict[str, Any] | None) -> Any:
        look = read()
        return page.head(look, lab, elsewhere), *_changed(look, search, known or {}, elsewhere)

    in_the_browser: Any = app.clientside_callback  # which has no types
    in_the_browser(STAMP, Output("answered", "data"), Input("head", "children"))
    in_the_browser(
        STALE,
        Output("stale", "children"),
        Input("tick", "n_intervals"),
        State("answered", "data"),
    )
    server: flask.Flask = app.server
    server.config["TRUSTED_HOSTS"] = NAMES
    _serve_results(server, elsewhere)
    return server


def _layout() -> html.Div:
    places = [
        html.Article(
            [
                html.Div(id={"above": i}),
                dcc.Graph(
                    figure=NOTHING,
                    id={"figure": i},
                    config={"displayModeBar": False, "responsive": True},
                    style={"height": f"{HEIGHT}px"},
                ),
                html.Div(id={"below": i}),
            ],
            id={"place": i},
            style={"display": "none"},
        )
        for i in range(PLACES)
    ]
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="tick", interval=REFRESH_SECONDS * 1000),
            dcc.Store(id="known"),
            dcc.Store(id="answered"),
            html.P(id="stale", className="problem"),
            html.Header(id="head"),
            html.Main([html.Div(places, className="places"), html.Div(id="tables")]),
        ]
    )


def _changed(
    look: Look, search: str | None, known: Mapping[str, Any], elsewhere: Elsewhere
) -> tuple[Any, ...]:
    """The tables, what the browser keeps, and the PARTS of all places; `no_update` for old ones.

    Args:
        look: what there is to see.
        search: the part of the page's address that names searches, such as "?search=first".
        known: what the browser kept: the searches in the places, and a digest of each part.
        elsewhere: where the other dashboards and the files of the searches are.
    """
    runs = elsewhere.runs()
    chosen = parse_qs((search or "").removeprefix("?")).get("search", [])
    full = page.in_full(look, chosen)
    names = placed(known.get("places", ()), [found.name for found in full])
    shown = {found.name: (order, found) for order, found in enumerate(full)}
    parts: dict[str, Any] = {
        "tables": page.tables(look, chosen, [*filter(None, names)], elsewhere, runs)
    }
    for place, name in enumerate(names):
        order, found = shown[name] if name is not None else (0, None)
        parts[f"above {place}"] = found and page.above(found, elsewhere, runs)
        parts[f"figure {place}"] = curves(found) if found else None
        parts[f"below {place}"] = found and page.below(found, elsewhere, runs)
        parts[f"place {place}"] = {"order": order} if found else {"display": "none"}
    digests = {key: _digest(part) for key, part in parts.items()}
    before = known.get("digests", {})
    new = {k: _renewed(k, parts[k], digests[k], before.get(k)) for k in parts}
    told = {"places": names, "digests": digests}
    return (
        new["tables"],
        no_update if told == known else told,
        *([new[f"{part} {i}"] for i in range(PLACES)] for part in PARTS),
    )


def _renewed(name: str, part: Any, digest: list[str], before: list[str] | None) -> Any:
    """The new value of a part of the page, or of its changed traces; `no_update` if it is old."""
    if digest == before:
        return no_update
    if not isinstance(part, go.Figure):
        return NOTHING if name.startswith("figure") else part
    if before is None or digest[0] != before[0]:
        return part
    traces = Patch()
    traces["data"] = part.data
    return traces


def _digest(part: Any) -> list[str]:
    """What changes if a part of the page does; of a figure, first of its layout, then of its
    traces."""
    halves = [part.layout, part.data] if isinstance(part, go.Figure) else [part]
    texts = (json.dumps(half, cls=PlotlyJSONEncoder) for half in halves)
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def _serve_results(server: flask.Flask, elsewhere: Elsewhere) -> None:
    """Serve the reports and strategy files of searches, and no other files."""

    @server.get("/results/<search>/<name>")
    def result(search: str, name: str) -> flask.Response:
        file = result_file(search, name, elsewhere)
        if file is None:
            flask.abort(404, f"there is no such file; known: {', '.join(FILES.values())}")
        answer = flask.send_file(file)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-cache"
        return answer
