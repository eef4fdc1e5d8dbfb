"""The commands `autonat delete` and `autonat rename`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from trials.cli.flags import App, LabFlag, NameArgument, RecordFlag, TrackingFlag
from trials.cli.printing import DATABASES, exit_when_interrupted, lab_flags, note, out
from trials.lab import DEFAULT_LAB, Lab
from trials.progress import LiveProgress, say

if TYPE_CHECKING:
    from trials.record.changed_searches import SearchStudies

app = App()

YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
CONTINUES = "interrupted; the same command continues"


@app.command()
def delete(
    name: NameArgument,
    yes: YesFlag = False,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Delete a search with its evaluations, its results and its runs in MLflow.

    The record and the folder of results are deleted for good. MLflow keeps deleted runs in its
    trash, until `mlflow gc` empties it. Trained models stay, because other searches may use them.
    A search that runs is not deleted.
    """
    from search.names import require_existing_search_name
    from trials.record.changed_searches import studies_to_change
    from trials.record.renaming import refuse_half_renamed
    from trials.results.announced import refuse_prepared

    require_existing_search_name(name)
    where = _existing(lab, record_url, tracking_uri)
    refuse_half_renamed(where.record_url, name)
    studies = studies_to_change(where.record_url, name)
    refuse_prepared(where, studies.searches)
    _ask(f"Delete {_words(where, studies)}?", f"autonat delete {name}", yes)
    say(f"{name}: deleting it; importing MLflow …")
    from trials.publishing.changed_searches import delete_search

    with exit_when_interrupted(CONTINUES), LiveProgress() as progress:
        delete_search(where, studies, progress)
    out.print(f"deleted {name}")


@app.command()
def rename(
    old: NameArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    yes: YesFlag = False,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Rename a search with its studies, its results and its runs in MLflow.

    The searches of an alternation are renamed with it. A search that runs is not renamed.
    """
    from trials.publishing.changed_searches import rename_search, studies_to_rename

    where = _existing(lab, record_url, tracking_uri)
    studies = studies_to_rename(where, old, new)
    if studies.name == new:
        say(f"{old}: finishing its renaming to {new}; importing MLflow …")
    else:
        _ask(f"Rename {_words(where, studies)} to {new}?", f"autonat rename {old} {new}", yes)
        say(f"{old}: renaming it; importing MLflow …")
    with exit_when_interrupted(CONTINUES), LiveProgress() as progress:
        rename_search(where, studies, old, new, progress, note)
    out.print(f"renamed {old} to {new}")
    if (where.results(new) / "report.html").exists():
        report = f"autonat report {new}{lab_flags(where, *DATABASES)}"
        say(f"its report and its texts in MLflow and Optuna's dashboard still call it {old}")
        say(f"{report} writes the report again")


def _existing(lab: LabFlag, record_url: str | None, tracking_uri: str | None) -> Lab:
    where = Lab.at(lab, record_url, tracking_uri)
    return where if record_url else where.existing()


def _words(lab: Lab, studies: SearchStudies) -> str:
    """A search and what belongs to it, for a question."""
    count = len(studies.studies)
    parts = [f"{count} {'study' if count == 1 else 'studies'} of the record", "its runs in MLflow"]
    parts += [str(folder) for name in studies.searches if (folder := lab.results(name)).exists()]
    return f"{studies.name} ({', '.join(parts)})"


def _ask(question: str, command: str, yes: bool) -> None:
    """Ask on a terminal whether to go on.

    Raises:
        ValueError: there is no terminal to ask on.
        typer.Exit: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"{command}: expected --yes, because there is no terminal to ask on")
    if not typer.confirm(question, err=True):
        say("nothing is changed")
        raise typer.Exit(1)
