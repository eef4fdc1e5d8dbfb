"""plotly.js for pages: its basic bundle, a quarter of the whole, which draws all our figures.

plotly-basic.min.js is the file of the npm package plotly.js-basic-dist-min, under the MIT license
(see LICENSE). Figures are written for one version of plotly.js, so the whole bundle of the
installed Python package is used if that has another version.
"""

from __future__ import annotations

import re
from importlib.resources import files

from plotly.offline import get_plotlyjs, get_plotlyjs_version


def plotly_js() -> str:
    """Return plotly.js in the version of the installed Python package."""
    basic = files(__name__).joinpath("plotly-basic.min.js").read_text(encoding="utf-8")
    return basic if bundled_version(basic) == get_plotlyjs_version() else str(get_plotlyjs())


def bundled_version(script: str) -> str | None:
    """Return the version that a bundle of plotly.js states at its beginning."""
    found = re.search(r"plotly\.js[^\n]* v(\S+)", script[:500])
    return None if found is None else found[1]
