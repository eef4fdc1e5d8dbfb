"""Where the live page shows a search in full.

Dash draws a figure anew, and forgets how far it was zoomed, if anything around it is replaced. The
page therefore has a fixed number of places, each with a figure that stays, and a search keeps its
place for as long as it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

PLACES = 12
"""The most searches that are shown in full."""


def placed(before: Sequence[str | None], names: Sequence[str]) -> list[str | None]:
    """Return the name of the search in each place.

    Args:
        before: the names so far.
        names: of the searches to be shown, the most important ones first.
    """
    shown = names[:PLACES]
    places = [name if name in shown else None for name in before[:PLACES]]
    places += [None] * (PLACES - len(places))
    for name in shown:
        if name not in places:
            places[places.index(None)] = name
    return places
