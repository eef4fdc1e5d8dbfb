"""The commands that prepare data: `autonat tokenize`, `autonat embed` and `autonat statistics`."""

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
        help="A folder of pictures, in which each sub-folder is a class; or a tar, or a folder of "
        "tars, as img2dataset writes them.",
    ),
]


SizeFlag = Annotated[
    int,
    typer.Option(
        metavar="PIXELS", min=1, help="Side of the square to which images are scaled and cropped."
    ),
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
        help="A folder of pictures, in which each sub-folder is a class; a tar, or a folder of "
        "tars, as img2dataset writes them; or a .npy file of tokens in the public code's form.",
    ),
]


@app.command()
def tokenize(
    images: TokenizedArgument,
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="An existing tokenizer: vqgan:PATH, llamagen:PATH, diffusers:FOLDER or "
            "patches:PATH; or patches, to fit a codebook of patches to these images.",
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="The folder to write the tokens to.")
    ],
    size: SizeFlag = 256,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Captions: a .json of COCO, or a .tsv with a caption, a tab and a file name in "
            "each line.",
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
    """Turn images and their mirror images into tokens. Repeat the command to resume it."""
    fitted = {"factor": factor, "codebook_size": codebook_size}
    given = {name: value for name, value in fitted.items() if value is not None}
    if given and tokenizer != "patches":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: expected --tokenizer patches, which fits them, got {tokenizer}")
    if images.suffix == ".npy" and captions is not None:
        raise ValueError(f"--captions: expected images to tokenize, got the tokens {images}")
    _require_utf8(folder)
    if folder.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out: expected a folder outside the images, got {folder}")
    say(f"{images}: turning it into tokens in {folder}; importing PyTorch …")
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
        Path, typer.Option("--out", metavar="OUT.npz", help="The file to write, with mu and sigma.")
    ],
    features: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Existing features: inception:PATH, inception-bicubic:PATH, inception-adm:PATH or "
            "pixels:PATH (docs/images.md); or pixels, to fit principal components of small images.",
        ),
    ],
    size: SizeFlag = 256,
    side: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Side of the small images, where pixels are fitted. (default: 8)",
        ),
    ] = None,
    keep_features: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Also store the features of N images drawn at random, which the metrics kid and "
            "mmd need. (default: none)",
        ),
    ] = None,
    batch: BatchFlag = 64,
    workers: ReadersFlag = 2,
    as_json_: JsonFlag = False,
) -> None:
    """Compute the statistics of real images, with which generated images are compared."""
    say(f"{images}: computing its statistics; importing PyTorch …")
    from models.data.image_sources import open_source
    from models.data.real_statistics import PIXELS, pixels_file, real_statistics

    _require_utf8(path)
    if path.suffix != ".npz":
        raise ValueError(f"--out: expected a name that ends in .npz, got {path}")
    if side is not None and features != PIXELS:
        raise ValueError(f"--side: expected --features pixels, which fits them, got {features}")
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
    """Check the path of --out, which libraries open that accept only UTF-8.

    Raises:
        ValueError: the path is not UTF-8.
    """
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise ValueError(f"--out: expected a path in UTF-8, got {printable(str(path))}") from None


@app.command()
def embed(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A folder of tokens with captions, as `autonat tokenize` writes it.",
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option(metavar="KIND", help="The text encoder: clip:FOLDER or transformer:FOLDER."),
    ],
    tokens: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Text tokens of each caption.")
    ] = 77,
    batch: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Captions that are encoded at once.")
    ] = 64,
) -> None:
    """Turn captions into states of a text encoder. Repeat the command to resume it."""
    say(f"{folder}: encoding its captions; importing PyTorch …")
    from models.data.contexts import CONTEXTS, store_contexts
    from models.data.text import load_text_encoder
    from models.data.token_data import TokenData

    data = TokenData.open(folder)
    with exit_when_interrupted(RESUMED_BY_REPEATING), LiveProgress() as progress:
        found = load_text_encoder(encoder, tokens)
        contexts = store_contexts(data, found, batch, progress.report("embedding captions"))
    captions, count, width = contexts.states.shape
    out.print(f"{folder / CONTEXTS}  {captions - 1} captions, {count} tokens of width {width} each")
