"""The evaluations of all searches as data of a page, which its table shows and saves as CSV."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping

import pandas as pd

from dashboards.input import Result

DIGITS = 15
"""Decimals of numbers in the data."""


def evaluations_data(named: Mapping[str, Result]) -> str | None:
    """Return the evaluations of all searches as compressed JSON.

    Returns:
        The JSON object {"columns": names, "rows": lists of values}, as `packed` returns it; None if
        there are none.
    """
    tables = [
        _named_by_metric(result.evaluations, result.search_metric).assign(method=label)
        for label, result in named.items()
        if len(result.evaluations)
    ]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True)
    if "finished" in table:
        table["finished"] = table["finished"].astype(str).str.slice(stop=19)
    table = table[["method", *(name for name in table.columns if name != "method")]]
    data = json.loads(table.to_json(orient="split", index=False, double_precision=DIGITS))
    text = json.dumps({"columns": data["columns"], "rows": data["data"]}, separators=(",", ":"))
    return packed(text)


def _named_by_metric(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    own = f"value of {metric}" if metric in table and metric != "fid" else metric
    return table.rename(columns={"fid": own, "fid_se": f"{own}_se"})


def packed(text: str) -> str:
    """Return a text compressed by gzip, in base64, as a page keeps what is large."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
