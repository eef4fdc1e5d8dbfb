"""Shows the results of a finished search again, from its record and files."""

from __future__ import annotations

from trials.cli.printing import show_paths
from trials.cli.tables import show_results
from trials.progress import say
from trials.publishing.publish import Published
from trials.record.kinds import SEARCH
from trials.record.record import Record
from trials.record.searches import is_finished, search_records
from trials.results.anchors import recorded_anchors
from trials.results.results import method_results
from trials.searches.settings import SearchSettings


def show_finished(settings: SearchSettings, as_json_: bool) -> bool:
    """Show the results of a search if it is finished and published; else say what is left to do.

    Args:
        settings: of a search that is resumed, not of an alternation.
        as_json_: print one JSON object in place of a table.

    Returns:
        Whether the results were shown.
    """
    name, lab = settings.full_name(), settings.open_lab()
    records = search_records(lab.record_url, name)
    done = sum(len(r.evaluations) for r in records if r.settings["kind"] == SEARCH)
    total = settings.budget_of_one().evaluations * len(settings.optimisers)
    if not is_finished(records):
        say(f"{name}: {done} of {total} evaluations are done")
        return False
    found = finished(settings, records)
    if found is None:
        say(f"{name}: finished with {done} evaluations, but not published")
        return False
    say(f"{name}: finished with {done} evaluations; nothing is left to do")
    show_results(found.results, found.anchors, as_json_, found, name)
    if not as_json_:
        show_paths(lab, found.best, found.report)
    return True


def finished(settings: SearchSettings, records: list[Record]) -> Published | None:
    """Return what a search has published; None if it is not finished, or not published.

    Args:
        settings: of a search that has begun, not of an alternation.
        records: of its studies.
    """
    folder = settings.open_lab().results(settings.full_name())
    best, report = folder / "best.json", folder / "report.html"
    if not (is_finished(records) and best.exists() and report.exists()):
        return None
    return Published(
        method_results(records),
        best,
        report,
        behind=0,
        first=tuple(records[0].settings.get("first", ())),
        anchors=recorded_anchors(records),
    )
