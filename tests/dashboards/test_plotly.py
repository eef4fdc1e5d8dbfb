"""The bundle of plotly.js in pages."""

from __future__ import annotations

import pytest
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from dashboards import plotly


def test_the_bundle_is_of_the_pinned_version_and_small() -> None:
    """A new pin of plotly needs a new bundle: npm pack plotly.js-basic-dist-min@VERSION."""
    assert plotly.bundled_version(plotly.plotly_js()) == get_plotlyjs_version()
    assert len(plotly.plotly_js()) < 1_250_000


def test_another_version_gets_its_own_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly, "get_plotlyjs_version", lambda: "99.0.0")
    assert plotly.plotly_js() == get_plotlyjs()
