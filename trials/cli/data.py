"""The commands that make data: `autonat tokenize`, `autonat embed` and `autonat statistics`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.data.picture_files import printable
from trials.cli.flags import App, JsonFlag
from trials.cli.printing import RESUMED_BY_REPEATING, exit_when_interrupted, out, print_json
from trials.progress import LiveProgress, say

if TYPE_CHECKING:
    from models.data.token_data import TokenData
    from models.metrics.frechet import Statistics

app = App()


ImagesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="A folder of pictures, each sub-folder a class; or a tar, or a folder of tars, as "
        "img2dataset writes them.",
    ),
]


SizeFlag = Annotated[
    int, typer.Option(metavar="PIXELS", min=1, help="Side to which images are scaled and cropped.")
]
BatchFlag = Annotated[
    int, typer.Option(metavar="IMAGES", min=1, help="Images that are encoded at once.")
]
ReadersFlag = Annotated[
    int, typer.Option(metavar="COUNT", min=0, help="Processes that read and scale images.")
]
TokenizedArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="A folder of pictures, each sub-folder a class; a tar, or a folder of tars, as "
        "img2dataset writes them; or a public .npy file of tokens.",
    ),
]


@app.command()
def tokenize(
    images: TokenizedArgument,
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="vqgan:PATH, diffusers:FOLDER or patches:PATH for one that exists; patches to "
            "fit patches to these images.",
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="The folder for the tokens.")
    ],
    size: SizeFlag = 256,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Captions: COCO's .json, or a .tsv whose lines are a caption, a tab and a file.",
        ),
    ] = None,
    factor: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=1, help="Side of a patch, where patches are fitted. (default: 8)"
        ),
    ] = None,
    codebook_size: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=2,
            help="Size of the codebook, where patches are fitted. (default: 512)",
        ),
    ] = None,
    batch: BatchFlag = 32,
    workers: ReadersFlag = 2,
    as_json_: JsonFlag = False,
) -> None:
    """Turn images and their mirror images into tokens. An interrupted run resumes."""
    fitted = {"factor": factor, "codebook_size": codebook_size}
    given = {name: value for name, value in fitted.items() if value is not None}
    if given and tokenizer != "patches":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: only where patches are fitted, not with {tokenizer}")
    _require_utf8(folder)
    if folder.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {folder} lies within the images")
    say(f"{images}: to tokens in {folder}; importing PyTorch …")
    from models.data.tokenize import take_public

    if images.suffix == ".npy":
        data = take_public(images, tokenizer, folder)
    else:
        data = _tokenized(images, captions, tokenizer, size, folder, given, batch, workers)
    _show_tokens(data, folder, as_json_)


def _show_tokens(data: TokenData, folder: Path, as_json_: bool) -> None:
    if as_json_:
        print_json(
            {
                "folder": str(folder),
                "images": data.images,
                "skipped": data.settings.skipped,
                "tokens": data.settings.tokens,
                "codebook_size": data.settings.codebook_size,
                "classes": data.num_classes,
                "hash": data.hash(),
            }
        )
        return
    from models.data.tokenize import SKIPPED

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

    with exit_when_interrupted(RESUMED_BY_REPEATING), LiveProgress() as progress:
        source = open_source(images, captions, progress.report("listing tars"))
        run = Tokenizing(source, tokenizer, size, folder, **fitted, batch=batch, workers=workers)
        return run_tokenize(run, progress.report)


@app.command()
def statistics(
    images: ImagesArgument,
    path: Annotated[
        Path, typer.Option("--out", metavar="OUT.npz", help="The file to write: mu and sigma.")
    ],
    features: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="inception:PATH or pixels:PATH for features that exist; pixels to fit them.",
        ),
    ],
    size: SizeFlag = 256,
    side: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Side of the small images that fitted pixels are taken of. (default: 8)",
        ),
    ] = None,
    keep_features: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Keep the features of N images, drawn at random, beside the statistics: the "
            "metrics kid and mmd need them. (default: none)",
        ),
    ] = None,
    batch: BatchFlag = 64,
    workers: ReadersFlag = 2,
    as_json_: JsonFlag = False,
) -> None:
    """Measure real images: the statistics that generated ones are compared with."""
    say(f"{images}: their statistics to {path}; importing PyTorch …")
    from models.data.image_sources import open_source
    from models.data.real_statistics import PIXELS, pixels_file, real_statistics

    _require_utf8(path)
    if path.suffix != ".npz":
        raise ValueError(f"--out {path} is not a .npz file")
    if side is not None and features != PIXELS:
        raise ValueError(f"--side: only where pixels are fitted, not with {features}")
    unwritten = "interrupted before the statistics were written"
    with exit_when_interrupted(unwritten), LiveProgress() as progress:
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
            keep=keep_features or 0,
        )
    for line in skipped:
        say(f"skipped {line}")
    fitted = pixels_file(path) if features == PIXELS else None
    _show_statistics(reference.statistics, path, fitted, len(skipped), as_json_)


def _show_statistics(
    found: Statistics, path: Path, fitted: Path | None, skipped: int, as_json_: bool
) -> None:
    told = {"statistics": str(path), "images": found.images, "skipped": skipped}
    if as_json_:
        features = {} if fitted is None else {"features": str(fitted)}
        print_json(told | features | {"hash": found.hash()})
        return
    out.print(f"{path}  {found.images} images, {len(found.mean)} features, {skipped} skipped")
    if fitted is not None:
        out.print(f"features  pixels:{fitted}")


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
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Tokens with captions, as `autonat tokenize` makes."),
    ],
    encoder: Annotated[
        str,
        typer.Option(metavar="KIND", help="The text encoder: clip:FOLDER or transformer:FOLDER."),
    ],
    tokens: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Text tokens of a caption.")
    ] = 77,
    batch: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Captions that are encoded at once.")
    ] = 64,
) -> None:
    """Turn captions into the states of a text encoder. An interrupted run resumes."""
    say(f"{folder}: its captions to states; importing PyTorch …")
    from models.data.contexts import CONTEXTS, store_contexts
    from models.data.text import load_text_encoder
    from models.data.token_data import TokenData

    data = TokenData.open(folder)
    with exit_when_interrupted(RESUMED_BY_REPEATING), LiveProgress() as progress:
        found = load_text_encoder(encoder, tokens)
        contexts = store_contexts(data, found, batch, progress.report("embedding captions"))
    captions, count, width = contexts.states.shape
    out.print(f"{folder / CONTEXTS}  {captions - 1} captions, {count} tokens of width {width} each")
