"""Image files of every kind become 8 bits a channel, or say why not."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.data.image_decoding import load_image
from models.data.image_sources import Item, UnusableImage


def encoded(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def loaded(content: bytes, path: Path, size: int = 64) -> np.ndarray[Any, Any]:
    path.write_bytes(content)
    return load_image(Item(path.name, str(path)), size)


def test_the_crop_is_adms(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 33, 3), np.uint8)
    found = loaded(encoded(Image.fromarray(pixels)), tmp_path / "1.png", 24)
    np.testing.assert_array_equal(found, pixels[:, 4:28])  # its own size: only cut
    large = pixels.repeat(4, axis=0).repeat(4, axis=1)
    found = loaded(encoded(Image.fromarray(large)), tmp_path / "2.png", 24)
    np.testing.assert_array_equal(found, pixels[:, 4:28])  # halved twice: means of 4 x 4


def test_a_size_between_is_bicubic(tmp_path: Path, photo: Image.Image) -> None:
    found = loaded(encoded(photo), tmp_path / "1.png", 40)
    expected = np.asarray(photo.resize((50, 40), Image.Resampling.BICUBIC))[:, 5:45]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, photo: Image.Image, mode: str) -> None:
    """Near the picture, or its grey: no colours inverted, no 16 bits cut off."""
    grey = np.asarray(photo.convert("L"))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 256 + 7)
    else:
        image = photo.convert("P").convert("RGB").convert(mode)
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = loaded(encoded(image, form), tmp_path / "picture", 72)
    near = np.asarray(photo)[:, 9:81] if image.mode not in ("L", "LA", "1", "I;16") else None
    expected = grey[:, 9:81, None].repeat(3, axis=2) if near is None else near
    assert np.abs(found.mean() - expected.mean()) < 6
    if mode == "I;16":
        np.testing.assert_array_equal(found, expected)


def test_a_palette_with_a_transparent_colour(tmp_path: Path, photo: Image.Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = encoded(photo.quantize(16), transparency=bytes([0, 128, *[255] * 14]))
        found = loaded(content, tmp_path / "1.png", 72)
    np.testing.assert_array_equal(found, np.asarray(photo.quantize(16).convert("RGB"))[:, 9:81])


def test_exifs_orientation_is_ignored(tmp_path: Path, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = loaded(encoded(photo, "JPEG", exif=exif), tmp_path / "1.jpg")
    np.testing.assert_array_equal(turned, loaded(encoded(photo, "JPEG"), tmp_path / "2.jpg"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"only text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "not an image"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImage, match=reason):
        loaded(content, tmp_path / "1.jpg")


def test_images_that_cannot_be_used(tmp_path: Path, photo: Image.Image) -> None:
    with pytest.raises(UnusableImage, match="short side 72 is below size = 73"):
        loaded(encoded(photo), tmp_path / "1.png", 73)
    with pytest.raises(UnusableImage, match="truncated"):
        loaded(encoded(photo, "JPEG")[:-200], tmp_path / "1.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnusableImage, match="Is a directory"):
        load_image(Item("folder.jpg", str(tmp_path / "folder.jpg")), 64)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_damage_never_ends_a_run(tmp_path: Path, photo: Image.Image, form: str) -> None:
    """Cut or with wrong bytes: an image, or a reason in one line."""
    rng = np.random.default_rng(0)
    whole = encoded(photo, form)
    for trial in range(60):
        content = np.frombuffer(whole, np.uint8).copy()
        if trial % 2:
            content = content[: rng.integers(len(content))]
        else:
            # Where headers are, most faults lie.
            places = rng.integers(0, (200, len(content))[trial % 4 // 2], 6)
            content[places] = rng.integers(0, 256, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = loaded(content.tobytes(), tmp_path / "1").shape
            except UnusableImage as fault:
                result = str(fault)
        assert result == (64, 64, 3) or (result and "\n" not in result)


LEVELS = np.linspace(0, 1, 64 * 64).reshape(64, 64)
"""Grey from black to white."""


def pgm(levels: int) -> bytes:
    """Binary, of two bytes a pixel."""
    pixels = np.round(LEVELS * levels).astype(">u2")
    return f"P5 64 64 {levels}\n".encode() + pixels.tobytes()


def tiff(pixels: np.ndarray[Any, Any], bits: int, kind: int = 1, photometric: int = 1) -> bytes:
    """Little-endian, in one strip; kind: 1 unsigned, 2 signed, 3 floating point."""
    height, width = LEVELS.shape
    if bits == 12:
        pairs = pixels.astype(np.uint32).reshape(-1, 2)
        both = pairs[:, 0] << 12 | pairs[:, 1]
        body = np.stack([both >> 16, both >> 8 & 255, both & 255], 1).astype(np.uint8).tobytes()
    else:
        body = pixels.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: height, 279: len(body), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    where = 8 + len(body)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, where) + body + directory


def whole(levels: int, kind: str) -> np.ndarray[Any, Any]:
    return np.round(LEVELS * levels).astype(kind)


@pytest.mark.parametrize(
    "content",
    [
        pgm(65535),
        pgm(4095),
        pgm(1023),
        tiff(whole(65535, "<u2"), 16),
        tiff(whole(65535, "<u2")[::-1, ::-1], 16, photometric=0),
        tiff(whole(4095, "<u2"), 12),
        encoded(Image.fromarray(whole(65535, "<u2"))),
    ],
    ids=["PGM 16", "PGM 12", "PGM 10", "TIFF 16", "TIFF 16 inverted", "TIFF 12", "PNG 16"],
)
def test_more_than_8_bits_are_scaled_by_their_range(content: bytes, tmp_path: Path) -> None:
    found = loaded(content, tmp_path / "picture").astype(int)
    assert (found[0, 0].tolist(), found[-1, -1].tolist()) == ([0] * 3, [255] * 3)
    assert np.abs(found - 255 * LEVELS[..., None]).max() <= 1


def png(channels: int) -> bytes:
    """Of 16 bits a channel, which Pillow reads and does not write; alpha is opaque."""
    grey = whole(65535, ">u2")[..., None]
    opaque = np.full_like(grey, 65535) if channels in (2, 4) else grey[..., :0]
    pixels = np.concatenate([grey.repeat((channels - 1) // 2 * 2 + 1, 2), opaque], 2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 64, 64, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_colours_of_16_bits_are_those_of_8(tmp_path: Path) -> None:
    pixels = np.stack([whole(65535, ">u2")] * 3, axis=2).astype(">u2")
    for content in (b"P6 64 64 65535\n" + pixels.tobytes(), png(2), png(3), png(4)):
        found = loaded(content, tmp_path / "picture").astype(int)
        assert np.abs(found - 255 * LEVELS[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            tiff(whole(2**31 - 1, "<u4"), 32),
            "32-bit or signed pixels, for which no number is known to be white",
        ),
        (
            tiff(whole(255, "<i4"), 32, kind=2),
            "32-bit or signed pixels, for which no number is known to be white",
        ),
        (
            tiff(whole(255, "<i2"), 16, kind=2),
            "32-bit or signed pixels, for which no number is known to be white",
        ),
        (
            tiff(LEVELS.astype("<f4"), 32, kind=3),
            "floating-point pixels, for which no number is known to be white",
        ),
        (b"Pf 64 64 -1.0\n" + LEVELS.astype("<f4").tobytes(), "floating-point pixels, for which"),
    ],
    ids=["unsigned 32", "signed 32", "signed 16", "float TIFF", "PFM"],
)
def test_numbers_without_a_white_are_skipped(content: bytes, reason: str, tmp_path: Path) -> None:
    """Today's guess would be another's wrong picture."""
    with pytest.raises(UnusableImage, match=reason):
        loaded(content, tmp_path / "picture")


def test_alpha_is_dropped_and_the_colours_below_it_stay(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0], pixels[:32, :, 3] = 200, 255
    found = loaded(encoded(Image.fromarray(pixels)), tmp_path / "1.png")
    np.testing.assert_array_equal(found, np.broadcast_to([200, 0, 0], found.shape))
