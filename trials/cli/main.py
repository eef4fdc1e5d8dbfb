"""The command line: `autonat`. Results go to stdout, progress and errors to stderr.

Exit codes: 0 for success; 1 when `autonat doctor` found a fault that keeps a search from running; 2
for bad input, which one line explains; 130 when Ctrl-C, SIGTERM or SIGHUP interrupted the command
(what was measured is kept).
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trials.cli.changed_searches import app as changes_app
from trials.cli.dashboard import app as dashboard_app
from trials.cli.data import app as data_app
from trials.cli.flags import (
    App,
    JsonFlag,
    LabFlag,
    RayAddressFlag,
    RecordFlag,
    TrackingFlag,
    finite,
    without_flag_placeholders,
)
from trials.cli.printing import INTERRUPTED, out, print_json, spell_out
from trials.cli.records import app as records_app
from trials.cli.search import app as search_app
from trials.cli.strategies import app as strategies_app
from trials.cli.train import app as train_app
from trials.cli.zoo import app as zoo_app
from trials.lab import DEFAULT_LAB
from trials.progress import say
from trials.progress.lasting import outlast_readers
from trials.quiet import without_chatter

HELP = """A laboratory for the schedules of masked image generators.

Start here: the first command shows everything on small images of digits, in about 6 minutes. The
second runs a search of your own, and the third lists what was found. `autonat COMMAND --help`
explains a command. All files are kept in one folder, the lab: `autonat-lab`, or the folder that
`--lab` names.

```
autonat demo
autonat search --steps 4 --name first
autonat list
```
"""
HEADINGS = {
    "Search": ("demo", "search", "train", "objectives", "doctor"),
    "What searches found": (
        *("list", "show", "compare", "front", "report", "dashboard", "sync", "tabulate"),
        *("rename", "delete"),
    ),
    "One strategy": ("evaluate", "sample", "transfer", "export", "import"),
    "Data of your own": ("tokenize", "embed", "statistics"),
    "Public generators": ("zoo",),
}
"""The headings of the help, in order, each with its commands."""


class Commands(TyperGroup):
    """The commands under their headings. An interrupted command says so, unless it said more."""

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        """See `click.Command.get_params`."""
        return without_flag_placeholders(super().get_params(ctx))

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """See `click.Group.list_commands`."""
        return [name for names in HEADINGS.values() for name in names]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """See `click.Group.get_command`."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            found = (heading for heading, names in HEADINGS.items() if cmd_name in names)
            command.rich_help_panel = next(found)  # type: ignore[attr-defined]
        return command

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            say("; ".join(["autonat: interrupted", *map(str, stopped.args)]))
            raise typer.Exit(INTERRUPTED) from None


app = App(
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(search_app)
app.add_typer(train_app)
app.add_typer(strategies_app)
app.add_typer(records_app)
app.add_typer(changes_app)
app.add_typer(dashboard_app)
app.add_typer(data_app)
app.add_typer(zoo_app)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"autonat {version('autonat')}")
        raise typer.Exit


@app.callback()
def _main(
    asked: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


@app.command()
def doctor(
    ray_address: RayAddressFlag = None,
    gpus_per_trial: Annotated[
        float,
        typer.Option(
            metavar="GPUS",
            min=0,
            callback=finite,
            help="GPUs that each evaluation of the planned search would use.",
        ),
    ] = 0.0,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Check everything that a search needs, and say how to fix what fails (exit code 1)."""
    say("checking the lab, the record, MLflow and Ray …")
    from trials.cli.doctor import examine

    findings = []
    for finding in examine(lab, record_url, tracking_uri, ray_address, gpus_per_trial):
        findings.append(finding)
        if not as_json_:
            out.print(f"{finding.state:8} {finding.what}: {finding.found}")
            if finding.advice:
                out.print(f"{'':8} {finding.advice}")
    if as_json_:
        print_json([asdict(finding) for finding in findings])
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


@app.command()
def objectives(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print what it measures and its settings.")
    ] = None,
) -> None:
    """List the installed objectives, which measure strategies; or the settings of one.

    ```
    autonat objectives digits
    autonat search --objective digits --set width=64
    ```
    """
    from trials.objectives.objective import OBJECTIVES, setting_lines

    if name is None:
        for known, source in sorted(OBJECTIVES.sources().items()):
            out.print(f"{known}  {source}")
        out.print("autonat objectives NAME prints the settings of one, for --set")
        return
    say(f"{name}: importing it …")
    made_by = OBJECTIVES.load(name)
    told = inspect.cleandoc(made_by.__doc__ or f"{name} says nothing of itself")
    out.print(told, markup=False)
    out.print("\nSettings, for --set, with their defaults:")
    for line in setting_lines(made_by):
        out.print(f"  {line}", markup=False)


def main() -> None:
    """Run the command line of this process."""
    outlast_readers()
    spell_out()
    without_chatter()
    try:
        app()
    except ValueError as error:
        say(f"autonat: {error}")
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written, a full disk, a name too long
        named = "" if error.filename is None else f"{error.filename}: "
        say(f"autonat: {named}{error.strerror or str(error) or type(error).__name__}")
        sys.exit(2)
