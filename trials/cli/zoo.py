"""The commands on public generators: `autonat zoo` and `autonat zoo check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from trials.cli.flags import App, JsonFlag
from trials.cli.printing import out, print_json
from trials.presets.zoo import PublicModel, public_models
from trials.progress import say

if TYPE_CHECKING:
    from models.file_report import FileReport

EXPLAINED = """\
FIDs are as published, each by its own protocol (docs/zoo.md): they cannot be compared across
kinds. passes and GFLOPs: of an image, with the preset; dashes: not known."""

app = App()
zoo_app = App(help="List the public generators that autonat reads, and their files.")
app.add_typer(zoo_app, name="zoo")


@zoo_app.callback(invoke_without_command=True)
def zoo(context: typer.Context, as_json_: JsonFlag = False) -> None:
    """List the public generators that autonat reads, and where their files are from."""
    if context.invoked_subcommand is not None:
        return
    models = public_models()
    if as_json_:
        print_json([model.to_json() for model in models])
        return
    out.print(_table(models))
    out.print(EXPLAINED)
    for model in models:
        out.print(f"\n{model.name} ({model.licence}): --set weights={model.kind}:PATH", end="")
        out.print("".join(f" --set {setting}" for setting in model.settings.split()))
        for file in model.files:
            size = f", {file.size}" if file.size else ""
            out.print(f"  {file.file}{size}, from {file.place}")


@zoo_app.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file of weights, or a folder with them.")
    ],
    as_json_: JsonFlag = False,
) -> None:
    """Say what a file or folder is, and how to name it."""
    _, kind, rest = str(path).partition(":")
    if kind and not path.exists() and Path(rest).exists():  # KIND:PATH, as searches take it
        path = Path(rest)
    say(f"{path}: reading it; importing PyTorch …")
    from models.file_report import report_on

    found = report_on(path)
    if as_json_:
        print_json(found.to_json())
        return
    for line in _lines(path, found):
        out.print(line)


def _table(models: list[PublicModel]) -> Table:
    table = Table("generator", "for", box=None, pad_edge=False)
    for name in ("M params", "T", "FID", "passes", "GFLOPs"):
        table.add_column(name, justify="right")
    table.add_column("preset")
    for model in models:
        flops = model.image_gigaflops()
        table.add_row(
            model.name,
            model.makes,
            f"{model.parameters:g}",
            str(model.steps),
            "–" if model.fid is None else f"{model.fid:g}",
            str(model.passes_here()),
            "–" if flops is None else f"{flops:,.0f}",
            model.preset or "–",
        )
    return table


def _lines(path: Path, found: FileReport) -> list[str]:
    lines = [f"{path}: {found.about}", f"{found.parameters:,} numbers in {found.tensors:,} tensors"]
    if found.sizes:
        lines.append(", ".join(f"{name} {value}" for name, value in found.sizes.items()))
    if found.role == "generator":
        settings = _settings_of(found)
        lines.append(f"--set weights={found.kind}:{path}{settings}")
    elif found.role in ("tokenizer", "features"):
        lines.append(f"--set {found.role}={found.kind}:{path}")
    return lines


def _settings_of(found: FileReport) -> str:
    """The further settings that a generator of this kind needs."""
    kinds = (found.kind, *found.also)
    of_kind = [model for model in public_models() if model.kind in kinds]
    alike = [model for model in of_kind if model.makes.startswith("texts") == found.texts]
    settings = alike[0].settings.split() if alike else []
    return "".join(f" --set {setting}" for setting in [*settings, *found.needs])
