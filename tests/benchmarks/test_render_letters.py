"""The pictures of letters: what good and bad fonts give, and what is said of missing ones."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from benchmarks import letter_fonts, render_letters

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SERIF, DISPLAY = "DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansDisplay.ttf"
"""The last has a few mathematical symbols and no letters."""


@pytest.fixture
def fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one font, which is all that the list of packages asks for."""
    packages = {"fonts-dejavu-core": ("Bitstream-Vera", "DejaVuSans")}
    monkeypatch.setattr(render_letters, "PACKAGES", packages)
    folder = tmp_path / "fonts"
    folder.mkdir()
    shutil.copy(FONTS / SANS, folder)
    return folder


def render(*arguments: str | Path) -> Result:
    app = Typer()
    app.command()(render_letters.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_same_fonts_give_the_same_file(fonts: Path, tmp_path: Path) -> None:
    for name in ("DejaVuSans-1.ttf", "DejaVuSans-2.ttf"):  # equal pictures count once
        shutil.copy(FONTS / SERIF, fonts / name)
    files = [tmp_path / "once.npz", tmp_path / "twice.npz"]
    for file in files:
        assert render(file, "--fonts", fonts).exit_code == 0
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 1
    with np.load(files[0]) as data:
        x, y, font = data["x"], data["y"], data["font"]
    assert (x.shape, x.dtype, y.dtype) == ((72, 32, 32), np.uint8, np.uint8)
    assert np.bincount(y).tolist() == [2] * 36
    assert set(font) == {SANS, "DejaVuSans-1.ttf"}
    assert x[font == SANS][8, :, 14:18].max() == 255  # the I stands in the middle
    assert not x[:, :3].any()
    assert not x[:, :, :3].any()


@pytest.mark.parametrize("bad", ["damaged", "cut", "lacking", "dangling"])
def test_a_font_that_cannot_give_all_letters_is_passed_over(
    bad: str, fonts: Path, tmp_path: Path
) -> None:
    file = fonts / f"DejaVuSans-{bad}.ttf"
    if bad == "damaged":
        file.write_bytes(b"no font")
    elif bad == "cut":
        file.write_bytes((FONTS / SERIF).read_bytes()[:50_000])
    elif bad == "lacking":
        shutil.copy(FONTS / DISPLAY, file)
    else:
        file.symlink_to(fonts / "absent.ttf")
    said = render(tmp_path / "letters.npz", "--fonts", fonts)
    assert said.exit_code == 0, said.output
    with np.load(tmp_path / "letters.npz") as data:
        assert set(data["font"]) == {SANS}
    assert (file.name in said.stderr) == (bad != "dangling")


def test_missing_packages_are_named_with_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FONTS / SANS, tmp_path)
    packages = dict.fromkeys(("fonts-lato", "fonts-play"), ("OFL-1.1", "Lato- Play-"))
    packages["fonts-dejavu-core"] = ("Bitstream-Vera", "DejaVuSans.")
    monkeypatch.setattr(render_letters, "PACKAGES", packages)
    said = render(tmp_path / "letters.npz", "--fonts", tmp_path)
    assert said.exit_code == 2
    assert "Fonts of 2 of the 3 packages are missing" in said.stderr
    assert "apt-get install fonts-lato fonts-play\n" in said.stderr
    assert "apt-get download fonts-lato fonts-play\n" in said.stderr
    assert f"--fonts {tmp_path}." in said.stderr
    assert not (tmp_path / "letters.npz").exists()


@pytest.mark.parametrize(
    ("out", "folder", "message"),
    [
        ("letters.npz", "absent", "There is no folder absent."),
        ("absent/letters.npz", "fonts", "There is no folder absent."),
        ("fonts", "fonts", "fonts cannot be written."),
        ("/proc/letters.npz", "fonts", "/proc/letters.npz cannot be written"),
    ],
)
def test_a_wrong_path_is_one_clear_line(
    out: str, folder: str, message: str, fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fonts.parent)
    said = render(out, "--fonts", folder)
    assert said.exit_code == 2
    assert said.stderr.startswith(message)
    assert said.stderr.count("\n") == 1


def test_each_package_has_a_licence_and_each_font_left_out_is_of_a_package() -> None:
    marks = tuple(m for _, names in letter_fonts.PACKAGES.values() for m in names.split())
    assert all(licence and names for licence, names in letter_fonts.PACKAGES.values())
    assert all(name.startswith(marks) for name in letter_fonts.LEFT_OUT)
