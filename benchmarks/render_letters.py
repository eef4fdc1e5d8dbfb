"""Renders pictures of letters: A to Z and 0 to 9 in the free fonts of Debian's packages.

    python -m benchmarks.render_letters letters.npz                  # the fonts of this machine
    python -m benchmarks.render_letters letters.npz --fonts FOLDER   # those below a folder

It installs nothing: if fonts are missing, it names their packages and says how to get them. The
same fonts give the same file. It holds `x` [N, 32, 32] uint8, white on black, `y` [N] uint8, the
classes (A to Z are 0 to 25, 0 to 9 are 26 to 35), and `font` [N], the name of each picture's font
file.
"""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image, ImageDraw, ImageFont

from benchmarks.letter_fonts import LEFT_OUT, PACKAGES
from search.files import write_whole

CHARACTERS = string.ascii_uppercase + string.digits
UNASSIGNED = "\uffff"
"""A code point that is no character: a font draws it as it draws any character that it lacks."""
KINDS = (".otf", ".ttf")
SIDE, BOX, POINTS = 32, 26, 64
"""Pixels of a picture's side and of the square that a glyph fills, and the size it is drawn at."""
GREY_LEVELS = 8
"""Pictures of a class that are equal in so many grey levels count as one."""
DEBIAN_FONTS = Path("/usr/share/fonts")

Picture = npt.NDArray[np.uint8]


def main(out: Path, fonts: Path = DEBIAN_FONTS) -> None:
    """Render each letter of each font below the folder FONTS, and write the pictures to OUT."""
    for folder in (fonts, out.parent):
        if not folder.is_dir():
            refuse(f"There is no folder {folder}.")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        refuse(f"{out} cannot be written.")
    files = font_files(fonts)
    missing = [name for name, (_, marks) in PACKAGES.items() if not found(marks, files)]
    if missing:
        refuse(how_to_get(missing, fonts))
    drawn = {file.name: letters(file) for file in files}
    passed_over = [name for name, pictures in drawn.items() if not pictures]
    if passed_over:
        typer.echo(f"Damaged, or without some of the letters: {', '.join(passed_over)}", err=True)
    try:
        kept, used = write_pictures(out, drawn)
    except OSError as error:
        refuse(f"{out} cannot be written: {error.strerror}.")
    typer.echo(f"{out}: {kept:,} pictures from {used} of {len(files)} font files")


def refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)


def how_to_get(missing: list[str], fonts: Path) -> str:
    """The missing packages, and the commands that install them or unpack them into a folder."""
    # A folder of one's own has no use for what is installed, and must hold all packages.
    needed, folder = (PACKAGES, "FOLDER") if fonts == DEBIAN_FONTS else (missing, str(fonts))
    return (
        f"Fonts of {len(missing)} of the {len(PACKAGES)} packages are missing below {fonts}. "
        f"To install them:\n\n    apt-get install {' '.join(missing)}\n\n"
        f"To use them without installing them:\n\n    apt-get download {' '.join(needed)}\n"
        f'    for package in *.deb; do dpkg -x "$package" {folder}; done\n\n'
        f"and run this again with --fonts {folder}."
    )


def font_files(folder: Path) -> list[Path]:
    """The packages' font files in the order of their names, a font in two formats once."""
    marks = tuple(mark for _, names in PACKAGES.values() for mark in names.split())
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        wanted = file.name.startswith(marks) and not file.name.startswith(LEFT_OUT)
        if wanted and file.suffix.lower() in KINDS and file.is_file():
            files.setdefault(file.stem, file)
    return [files[name] for name in sorted(files)]


def found(marks: str, files: list[Path]) -> bool:
    """Whether each of a package's marks begins the name of one of the files."""
    return all(any(file.name.startswith(mark) for file in files) for mark in marks.split())


def letters(file: Path) -> list[Picture]:
    """The picture of each character; none if the font is damaged or lacks one of them."""
    try:
        font = ImageFont.truetype(file, POINTS, layout_engine=ImageFont.Layout.BASIC)
        lacking = fitted(UNASSIGNED, font)
        pictures = [fitted(character, font) for character in CHARACTERS]
    except OSError:
        return []
    blank = np.zeros_like(lacking)
    if any(np.array_equal(picture, none) for picture in pictures for none in (lacking, blank)):
        return []
    return pictures


def fitted(character: str, font: ImageFont.FreeTypeFont) -> Picture:
    """The glyph of a character in the middle of its picture, as large as the box allows."""
    canvas = Image.new("L", (4 * POINTS, 4 * POINTS))
    ImageDraw.Draw(canvas).text((POINTS, POINTS), character, fill=255, font=font)
    picture = Image.new("L", (SIDE, SIDE))
    if box := canvas.getbbox():
        glyph = canvas.crop(box)
        scale = BOX / max(glyph.size)
        width, height = (max(1, round(side * scale)) for side in glyph.size)
        glyph = glyph.resize((width, height), Image.Resampling.LANCZOS)
        picture.paste(glyph, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(picture)


def write_pictures(out: Path, drawn: dict[str, list[Picture]]) -> tuple[int, int]:
    """Write the pictures, equal ones once; returns how many those are, and of how many fonts."""
    first: dict[tuple[int, bytes], tuple[Picture, str]] = {}
    for name, pictures in drawn.items():
        for label, picture in enumerate(pictures):
            coarse = (picture // (256 // GREY_LEVELS)).tobytes()
            first.setdefault((label, coarse), (picture, name))
    x = np.array([picture for picture, _ in first.values()], np.uint8).reshape(-1, SIDE, SIDE)
    y = np.array([label for label, _ in first], np.uint8)
    fonts = np.array([name for _, name in first.values()], np.str_)
    with write_whole(out) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, x=x, y=y, font=fonts)
    return len(y), len(set(fonts))


if __name__ == "__main__":
    typer.run(main)
