"""The command that makes data: `autonat tokenize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trials.flags import JsonFlag
from trials.image_sources import open_source
from trials.printing import out, print_json
from trials.progress import LiveProgress, stderr
from trials.tokenize import SKIPPED, Tokenizing
from trials.tokenize import tokenize as run_tokenize

app = typer.Typer()


@app.command()
def tokenize(
    images: Annotated[
        Path,
        typer.Argument(help="A folder (class = sub-folder), or a tar or folder of img2dataset's."),
    ],
    tokenizer: Annotated[
        str, typer.Option(help="vqgan:PATH, patches:PATH, diffusers:FOLDER, or patches: fit them.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="A folder for the tokens.")],
    size: Annotated[int, typer.Option(min=1, help="Side of the images in pixels.")] = 256,
    captions: Annotated[
        Path | None, typer.Option(help="COCO's .json, or a .tsv of caption<TAB>file.")
    ] = None,
    factor: Annotated[
        int | None, typer.Option(min=1, help="Side of a patch, where they are fitted. (default: 8)")
    ] = None,
    codebook_size: Annotated[
        int | None, typer.Option(min=2, help="K, where patches are fitted. (default: 512)")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images encoded at once.")] = 32,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 2,
    as_json_: JsonFlag = False,
) -> None:
    """Turn images and their mirror images into tokens; run again, it goes on where it was."""
    fitted = {"factor": factor, "codebook_size": codebook_size}
    given = {name: value for name, value in fitted.items() if value is not None}
    if given and tokenizer != "patches":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: only where patches are fitted, not with {tokenizer}")
    if folder.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {folder} lies within the images")
    try:
        with LiveProgress() as progress:
            source = open_source(images, captions, progress.report("listing tars"))
            run = Tokenizing(source, tokenizer, size, folder, **given, batch=batch, workers=workers)
            data = run_tokenize(run, progress.report)
    except KeyboardInterrupt:
        stderr.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from None
    told = {
        "folder": str(folder),
        "images": data.images,
        "skipped": data.settings.skipped,
        "tokens": data.settings.tokens,
        "codebook_size": data.settings.codebook_size,
        "classes": data.num_classes,
        "hash": data.hash(),
    }
    if as_json_:
        print_json(told)
        return
    h, w = data.settings.grid
    out.print(f"{folder}  {data.images} images and their mirror images, {h} x {w} tokens each")
    if data.settings.skipped:
        out.print(f"{folder / SKIPPED}  {data.settings.skipped} images skipped, and why")
