"""The searches from which a search learns, read from the record."""

from __future__ import annotations

from collections.abc import Sequence

from search.earlier import EarlierSearch
from search.optimiser import Evaluated
from search.space import Space
from trials.record.differences import differences
from trials.record.kinds import SEARCH, what_is_searched
from trials.record.record import Record
from trials.record.searches import is_finished, search_records
from trials.searches.settings import SearchSettings

ALIKE = ("objective", "objective_settings", "start", "bounds", "frozen", "choices")
"""The settings that a search has in common with those from which it learns. The start is one of the
strategies by which their values are compared, and gives what is frozen its values."""


def earlier_searches(url: str, settings: SearchSettings) -> list[EarlierSearch]:
    """Read the searches that a search learns from, in the order in which they are named.

    The methods of a search count as one: their evaluations together, and the best of their winners.

    Args:
        url: of the record.
        settings: of the search.

    Raises:
        ValueError: there is no search of such a name, or it is not finished, searched anything but
            generation strategies, or differs in a setting of ALIKE.
    """
    found = []
    for name in settings.learns_from:
        records = search_records(url, name)
        _require_usable(name, records, settings)
        found.append(_read(name, records))
    return found


def described_in(url: str, name: str) -> dict[str, object]:
    """What measured the evaluations of a search: its objective, with hashes, and its protocol."""
    settings = search_records(url, name)[0].settings
    return {part: settings[part] for part in ("objective", "protocol")}


def _require_usable(name: str, records: Sequence[Record], settings: SearchSettings) -> None:
    told = records[0].settings
    if (what := what_is_searched(told)) != "generation":
        raise ValueError(
            f"learn_from: search {name} is of what = {what}; expected one of generation strategies"
        )
    if not is_finished([*records]):
        raise ValueError(
            f"learn_from: search {name} is not finished; autonat search --resume {name} "
            "continues it"
        )
    ours = settings.problem()
    recorded, asked = ({key: of.get(key) for key in ALIKE} for of in (told["search"], ours))
    if differing := differences(recorded, asked):
        raise ValueError(
            f"learn_from: search {name} cannot teach a search of another problem: it has "
            f"{differing[0]}"
        )


def _read(name: str, records: Sequence[Record]) -> EarlierSearch:
    methods = [record for record in records if record.settings["kind"] == SEARCH]
    measured = [
        Evaluated(done.probe.strategy, done.measurement.value, done.probe.seed)
        for record in methods
        for done in record.evaluations
        if done.measurement is not None and not done.stopped
    ]
    winners = [best for record in methods if (best := record.best()) is not None]
    if not winners:
        raise ValueError(f"learn_from: no evaluation of search {name} succeeded")
    best = min(winners, key=lambda winner: winner.value)
    space = Space.from_json(methods[0].settings["space"])
    return EarlierSearch(space, best.strategy, tuple(measured))
