"""The commands that make data: `autonat tokenize`, `autonat embed` and `autonat statistics`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.data.picture_files import printable
from trials.cli.flags import App, JsonFlag
from trials.cli.printing import out, print_json
from trials.progress import LiveProgress, say, stderr

if TYPE_CHECKING:
    from models.data.token_data import TokenData

app = App()


ImagesArgument = Annotated[
    Path,
    typer.Argument(help="A folder (class = sub-folder), or a tar or folder of img2dataset's."),
]


TokenizedArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder (class = sub-folder), a tar or folder of img2dataset's, or a public .npy of "
        "tokens."
    ),
]


@app.command()
def tokenize(
    images: TokenizedArgument,
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
    _require_utf8(folder)
    if folder.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {folder} lies within the images")
    say(f"{images}: to tokens in {folder}; importing PyTorch …")
    from models.data.tokenize import SKIPPED, take_public

    if images.suffix == ".npy":
        data = take_public(images, tokenizer, folder)
    else:
        data = _tokenized(images, captions, tokenizer, size, folder, given, batch, workers)
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


def _tokenized(
    images: Path,
    captions: Path | None,
    tokenizer: str,
    size: int,
    folder: Path,
    fitted: dict[str, int],
    batch: int,
    workers: int,
) -> TokenData:
    from models.data.image_sources import open_source
    from models.data.tokenize import Tokenizing
    from models.data.tokenize import tokenize as run_tokenize

    try:
        with LiveProgress() as progress:
            source = open_source(images, captions, progress.report("listing tars"))
            run = Tokenizing(
                source, tokenizer, size, folder, **fitted, batch=batch, workers=workers
            )
            return run_tokenize(run, progress.report)
    except KeyboardInterrupt:
        stderr.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from None


@app.command()
def statistics(
    images: ImagesArgument,
    path: Annotated[Path, typer.Option("--out", help="A .npz file with mu and sigma.")],
    features: Annotated[
        str, typer.Option(help="inception:PATH, pixels:PATH, or pixels: fit them.")
    ],
    size: Annotated[int, typer.Option(min=1, help="Side of the images in pixels.")] = 256,
    side: Annotated[
        int | None,
        typer.Option(min=1, help="Of small images, for fitted pixels. (default: 8)"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 2,
    as_json_: JsonFlag = False,
) -> None:
    """Measure real images: the reference statistics that FID compares with."""
    say(f"{images}: their statistics to {path}; importing PyTorch …")
    from models.data.image_sources import open_source
    from models.data.real_statistics import PIXELS, pixels_file, real_statistics

    _require_utf8(path)
    if path.suffix != ".npz":
        raise ValueError(f"--out {path} is not a .npz file")
    if side is not None and features != PIXELS:
        raise ValueError(f"--side: only where pixels are fitted, not with {features}")
    try:
        with LiveProgress() as progress:
            source = open_source(images, None, progress.report("listing tars"))
            reference, skipped = real_statistics(
                source,
                features,
                size,
                path,
                side=side or 8,
                batch=batch,
                workers=workers,
                report=progress.report,
            )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    for line in skipped:
        stderr.print(f"skipped {line}")
    found = reference.statistics
    told = {"statistics": str(path), "images": found.images, "skipped": len(skipped)}
    fitted = {"features": str(pixels_file(path))} if features == PIXELS else {}
    if as_json_:
        print_json(told | fitted | {"hash": found.hash()})
        return
    out.print(f"{path}  {found.images} images, {len(found.mean)} features, {len(skipped)} skipped")
    if fitted:
        out.print(f"features  pixels:{pixels_file(path)}")


def _require_utf8(path: Path) -> None:
    """Of --out: what lies there is opened by libraries that know no other names.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise ValueError(f"--out {printable(str(path))}: its whole path must be UTF-8") from None


@app.command()
def embed(
    folder: Annotated[Path, typer.Argument(help="Token data with captions.")],
    encoder: Annotated[str, typer.Option(help="clip:FOLDER or transformer:FOLDER.")],
    tokens: Annotated[int, typer.Option(min=1, help="A caption.")] = 77,
    batch: Annotated[int, typer.Option(min=1, help="Captions encoded at once.")] = 64,
) -> None:
    """Turn captions into a text encoder's states; run again, it goes on where it was."""
    say(f"{folder}: its captions to states; importing PyTorch …")
    from models.data.contexts import CONTEXTS, store_contexts
    from models.data.text import load_text_encoder
    from models.data.token_data import TokenData

    data = TokenData.open(folder)
    try:
        with LiveProgress() as progress:
            found = load_text_encoder(encoder, tokens)
            contexts = store_contexts(data, found, batch, progress.report("embedding captions"))
    except KeyboardInterrupt:
        stderr.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from None
    captions, count, width = contexts.states.shape
    out.print(f"{folder / CONTEXTS}  {captions - 1} captions, {count} tokens of width {width} each")
