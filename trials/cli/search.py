"""The commands `autonat search` and `autonat demo`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.registry import OPTIMISERS
from trials.cli.flags import (
    App,
    Command,
    JsonFlag,
    LabFlag,
    WorkersFlag,
    read_names,
    without_flag_placeholders,
)
from trials.lab import DEFAULT_LAB, Lab
from trials.progress import say
from trials.searches.demo import DEMO, LETTERS, METHODS

if TYPE_CHECKING:
    from trials.searches.settings import SearchSettings

app = App()
IMPORTING = "importing PyTorch, Ray and MLflow …"


class SearchCommand(Command):
    """`autonat search`. Its flags are made from the settings only when it is called, because that
    takes a fifth of the time that the other commands need to start."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `click.Command.get_params`."""
        from trials.cli.setting_flags import setting_options

        options = [*setting_options().values()]
        return [*super().get_params(ctx), *without_flag_placeholders(options)]

    def invoke(self, ctx: Any) -> Any:
        """Pass the given settings on as the object of the context."""
        from trials.cli.setting_flags import setting_options

        ctx.obj = {name: ctx.params.pop(name) for name in setting_options()}
        return super().invoke(ctx)


@app.command(cls=SearchCommand)
def search(
    context: typer.Context,
    study_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY.yaml",
            help="A file of settings, named as the flags below without their leading dashes; or "
            "a preset: imagenet256.yaml, imagenet512.yaml, coco.yaml, cc3m.yaml.",
        ),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume the search of this name.")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="With --resume: measure failed evaluations again."),
    ] = False,
    as_json_: JsonFlag = False,
) -> None:
    """Search for better schedules, then test the winners on seeds that no search saw.

    Start here: the first command trains a small model of handwritten digits and searches its
    schedules, which takes a few minutes. It may be interrupted with Ctrl-C; the second command
    resumes it. The third searches the schedules of your own model, and the fourth reads its
    settings from a file.

    ```
    autonat search --steps 4 --name first
    autonat search --resume first
    autonat search --objective mine:MyGenerator --budget 20000
    autonat search study.yaml --workers 8
    ```
    """
    from trials.cli.setting_flags import read_flags

    given = read_flags(context.obj)
    if resume is not None:
        _resume(resume, given, study_file, retry_failed, as_json_)
    elif retry_failed:
        raise ValueError("--retry-failed: expected --resume NAME as well, got none")
    else:
        from trials.searches.series import read_searches

        _begin(read_searches(given, study_file), as_json_)


def _resume(
    name: str, given: dict[str, Any], file: Path | None, retry_failed: bool, as_json_: bool
) -> None:
    say(f"{name}: resuming; reading its record …")
    from trials.searches.series import resumed_searches

    searches = resumed_searches(name, given, file)
    _refuse_running(searches)
    if len(searches) > 1:
        if retry_failed:
            each = " or ".join(settings.full_name() for settings in searches)
            raise ValueError(f"--retry-failed: expected the name of one search, {each}, got {name}")
        say(f"{name}: {_place_in_words(searches[-1])}{IMPORTING}")
        _run_series(searches, as_json_)
        return
    (settings,) = searches
    if settings.what != "both" and not retry_failed:
        from trials.cli.finished import show_finished

        if show_finished(settings, as_json_):
            return
    say(f"{name}: {_place_in_words(settings)}{IMPORTING}")
    from trials.cli.search_command import run

    run(settings, resume=True, retry_failed=retry_failed, as_json_=as_json_)


def _place_in_words(settings: SearchSettings) -> str:
    """Where a resumed search runs, before what it waits for; nothing where that is as usual."""
    place = settings.place().items()
    shown = (f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in place)
    return f"it runs with {', '.join(shown)}; " if place else ""


def _refuse_running(searches: Sequence[SearchSettings]) -> None:
    from trials.record.hold import refuse_running
    from trials.record.studies import studies_of

    for settings in searches:
        name, url = settings.full_name(), settings.open_lab().record_url
        own = [study for study, of in studies_of(url).items() if of.search == name]
        refuse_running(url, name, own)


def _begin(searches: Sequence[SearchSettings], as_json_: bool) -> None:
    from trials.searches.settings import JointSearch, TrainingSearch

    settings = searches[0]
    each = f"{settings.budget:,} images"
    if isinstance(settings, TrainingSearch | JointSearch):
        each = f"{settings.training_budget:,} training steps"
    methods = ", ".join(settings.optimisers)
    at = f" at T = {', '.join(str(s.steps) for s in searches)}" if len(searches) > 1 else ""
    on = f"{methods} on {settings.objective}{at}, {each} each"
    name = settings.name or "search"
    say(f"{name}: {on}")
    from trials.searches.first_look import first_look

    for one in searches:
        first_look(one)
    if len(searches) > 1:
        from trials.searches.series import refuse_begun

        refuse_begun(searches)
        say(f"{name}: {IMPORTING}")
        _run_series(searches, as_json_)
        return
    if settings.name is not None:  # deriving a name takes seconds
        from trials.record.searches import refuse_taken

        url = settings.open_lab().record_url
        refuse_taken(url, settings.name, settings.optimisers)
    say(f"{name}: {IMPORTING}")
    from trials.cli.search_command import run

    run(settings, resume=False, as_json_=as_json_)


def _run_series(searches: Sequence[SearchSettings], as_json_: bool) -> None:
    from trials.cli.series_command import run_series
    from trials.searches.settings import GenerationSearch

    first = searches[0]
    if not isinstance(first, GenerationSearch) or first.series is None:
        raise ValueError("expected searches of one series")
    run_series(searches, first.series, as_json_=as_json_)


@app.command()
def demo(
    letters: Annotated[
        bool,
        typer.Option(
            "--letters",
            help="Search on pictures of letters, with a model that comes with the package and with "
            f"{', '.join(LETTERS['optimisers'])}. It takes about 5 minutes on 2 cores.",
        ),
    ] = False,
    optimisers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…",
            help=f"Further optimisers, in addition to {', '.join(METHODS)}: one or more of "
            f"{', '.join(name for name in OPTIMISERS if name not in METHODS)}.",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="T", help="T, the number of decoding steps.")
    ] = DEMO["steps"],
    budget: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            help="Images that each optimiser may generate. "
            f"(default: {DEMO['budget']}; with --letters {LETTERS['budget']})",
        ),
    ] = None,
    images_per_evaluation: Annotated[
        int, typer.Option(metavar="IMAGES", help="Images generated to measure one strategy.")
    ] = DEMO["images_per_evaluation"],
    workers: WorkersFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Show everything at work: train on real digits, search with five methods, test, report.

    It takes about 6 minutes on 2 cores. The last lines say where the report is, and how to open the
    dashboards.
    """
    say("demo: looking for a free name in the lab's record …")
    from trials.record.searches import has_begun
    from trials.searches.reading import read_settings

    usual = LETTERS if letters else DEMO
    methods, kind = usual["optimisers"], "letters" if letters else "demo"
    more = [name for name in read_names(optimisers or []) if name not in methods]
    url, number = Lab.open(lab).record_url, 1
    while has_begun(url, f"{kind}-{number}"):
        number += 1
    values: dict[str, Any] = usual | {
        "name": f"{kind}-{number}",
        "optimisers": [*methods, *more],
        "steps": steps,
        "budget": usual["budget"] if budget is None else budget,
        "images_per_evaluation": images_per_evaluation,
        "lab": lab,
    }
    if workers is not None:
        values["workers"] = workers
    _begin([read_settings(values)], as_json_)
