"""What the live page shows: running and chosen searches in full, and all others in tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dash import dcc, html

from dashboards.live import links, words
from dashboards.live.curves import colours_of
from dashboards.live.input import Elsewhere, Look, Method, Search
from dashboards.live.links import Link
from search.controls import BASELINES
from search.measurement import metric_label

GROUPS = {
    "running": "Running",
    "preparing": "Being prepared",
    "failed": "Failed",
    "interrupted": "Interrupted",
    "done": "Done",
}
"""The states of searches, with the headings of their tables."""
LIVE = ("running", "preparing")
"""The states of searches that are shown in full without being chosen."""
REASONS = 3
"""The number of reasons of failures that a search shows."""


def head(look: Look, lab: str, elsewhere: Elsewhere) -> list[Any]:
    """Make the head of the page: the lab, the numbers of searches, and what could not be read."""
    states = [search.state for search in look.searches]
    counts = [f"{states.count(s)} {s}" for s in GROUPS if s in states]
    summary = ", ".join(counts) or "no searches yet; autonat search starts one"
    shown = [
        html.H1("Searches"),
        html.P(
            [
                html.Span(lab, className="lab"),
                html.Span(summary),
                html.Span("" if look.at is None else f"as of {look.at:%H:%M:%S}", className="soft"),
                *_links([Link("MLflow", elsewhere.mlflow), Link("Optuna", elsewhere.optuna)]),
            ],
            className="facts",
        ),
    ]
    return shown + [html.P(line, className="problem") for line in look.problems]


def in_full(look: Look, chosen: Sequence[str]) -> list[Search]:
    """Return the searches to show in full: chosen ones, those that run or are being prepared or,
    without any, the latest.

    Args:
        look: what there is to see.
        chosen: names of searches.
    """
    known = {search.name: search for search in look.searches}
    live = [search.name for search in look.searches if search.state in LIVE]
    names = dict.fromkeys([*(name for name in chosen if name in known), *live])
    return [known[name] for name in names] or [*look.searches[:1]]


def above(search: Search, elsewhere: Elsewhere, runs: Mapping[str, str]) -> list[Any]:
    """Make what stands above the figure of a search: its state, progress and numbers."""
    done, whole = words.progress(search)
    driver = "" if search.driver is None else f" · {search.driver}"
    parts: list[Any] = [
        html.Header(
            [
                html.H2(search.name),
                html.Span(search.state, className=f"state {search.state}"),
                html.Span(_links(links.of_search(search, elsewhere, runs)), className="links"),
            ]
        ),
        html.P(words.what_it_is(search), className="soft"),
        html.Progress(value=str(done), max=str(max(whole, 1))),
        html.P(words.how_far(search) + driver, className="soft"),
        html.Dl([_fact(fact) for fact in words.facts(search)], className="numbers"),
    ]
    for reason, count in search.reasons[:REASONS]:
        parts.append(html.P(f"{count:,} failed: {reason}", className="failure"))
    if rest := sum(count for _, count in search.reasons[REASONS:]):
        parts.append(html.P(f"{rest:,} failed for other reasons", className="failure"))
    return parts


def below(search: Search, elsewhere: Elsewhere, runs: Mapping[str, str]) -> list[Any]:
    """Make what stands below the figure of a search: the table of its methods."""
    return [_methods(search, elsewhere, runs)] if search.studies else []


def tables(
    look: Look,
    chosen: Sequence[str],
    shown: Collection[str],
    elsewhere: Elsewhere,
    runs: Mapping[str, str],
) -> list[Any]:
    """Make the tables of searches by their state.

    Args:
        look: what there is to see.
        chosen: names of searches that the address asks for.
        shown: names of searches that are shown in full; of those that run or
            are being prepared, the others are listed.
        elsewhere: where the other dashboards show them.
        runs: the addresses of MLflow's runs, by the name of the study.
    """
    known = {search.name for search in look.searches}
    found: list[Any] = [
        html.P(f"There is no search {name} in this lab.", className="problem")
        for name in chosen
        if name not in known
    ]
    for state, title in GROUPS.items():
        group = [s for s in look.searches if s.state == state]
        if state in LIVE:
            group = [search for search in group if search.name not in shown]
        if group:
            found += [html.H2(title), _table(group, chosen, elsewhere, runs)]
    return found


def _fact(fact: words.Fact) -> html.Div:
    return html.Div(
        [html.Dt(fact.name), html.Dd(fact.number), html.Dd(fact.remark, className="soft")]
    )


def _methods(search: Search, elsewhere: Elsewhere, runs: Mapping[str, str]) -> html.Table:
    metric, colour = metric_label(search.metric), colours_of(search)
    same = search.test_metric == search.metric
    tested = "final test" if same else f"final test {metric_label(search.test_metric)}"
    names = ["method", "evaluations", f"lowest {metric}", tested, "look at"]

    def row(method: Method) -> list[Any]:
        dot = html.Span(className="dot", style={"background": colour[method.method]})
        failed = f", {method.failed:,} failed" if method.failed else ""
        done = f"{method.evaluations + method.failed:,} of {method.budgeted:,}{failed}"
        return [
            [dot, method.method],
            done,
            words.number(method.best),
            words.number(method.test),
            _links(links.of_method(method, elsewhere, runs)),
        ]

    return _rows(names, [row(method) for method in search.studies])


def _table(
    searches: Sequence[Search],
    chosen: Sequence[str],
    elsewhere: Elsewhere,
    runs: Mapping[str, str],
) -> html.Table:
    names = ["search", "what", "evaluations", "best", "rule of thumb", "best control", "last"]

    def row(search: Search) -> list[Any]:
        others = [name for name in chosen if name != search.name]
        asked = others if search.name in chosen else [search.name, *others]
        address = "?" + "&".join(f"search={quote(name)}" for name in asked)
        found = {fact.name: fact for fact in words.facts(search)}
        best = found.get(f"best {words.best_metric(search)}")
        rule = next((found[name] for name in BASELINES if name in found), None)
        control = found.get("best control")
        failed = words.counted(search)
        return [
            dcc.Link(search.name, href=address, className="name"),
            words.what_it_is(search),
            f"{search.evaluations + search.failed:,} of {search.budgeted:,}"
            + (f", {failed}" if failed else ""),
            _numbers(best, f"{words.best_metric(search)} "),
            _numbers(rule),
            _numbers(control),
            "" if search.last is None else f"{search.last:%Y-%m-%d %H:%M}",
            _links(links.of_search(search, elsewhere, runs)),
        ]

    return _rows([*names, "look at"], [row(search) for search in searches])


def _numbers(fact: words.Fact | None, before: str = "") -> list[Any]:
    if fact is None:
        return []
    return [f"{before}{fact.number}", html.Small(fact.remark)]


def _rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> html.Table:
    """Make a table; each cell knows its heading, under which a narrow page shows it."""
    heads: list[dict[str, Any]] = [{"data-name": name} for name in names]
    return html.Table(
        [
            html.Thead(html.Tr([html.Th(name) for name in names])),
            html.Tbody(
                [
                    html.Tr([html.Td(c, **head) for head, c in zip(heads, row, strict=True)])
                    for row in rows
                ]
            ),
        ]
    )


def _links(found: Sequence[Link]) -> list[Any]:
    return [html.A(link.words, href=link.address, target="_blank") for link in found]
