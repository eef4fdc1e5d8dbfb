"""How an image file becomes an array of one size."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from models.data.image_sources import Item, UnusableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What is decoded. Pillow knows others, some of which start programs."""


def load_image(item: Item, size: int) -> npt.NDArray[np.uint8]:
    """Read and decode an image to [size, size, 3] as ADM does: RGB, the short side halved (box
    filter) while it is at least twice the size, then scaled to it (bicubic), the centre cut out.
    EXIF's orientation is ignored.

    Raises:
        UnusableImage: not an image, cut off, or its short side is below the size.
    """
    content = item.read()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if min(image.size) < size:
                raise UnusableImage(f"short side {min(image.size)} is below {size}")
            return _centre(_rgb(image), size)
    except UnusableImage:
        raise
    except Exception as error:  # of any type: whatever Pillow's parsers stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("cannot identify"):
            reason = "not an image" if content else "empty file"
        raise UnusableImage(reason) from None


def _rgb(image: Image.Image) -> Image.Image:
    """8 bits a channel; alpha is dropped, as ADM does.

    Raises:
        UnusableImage: its numbers have no white: integers of 32 bits, or floats.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _of_8_bits(image)
    elif image.mode in ("I", "F"):  # Pillow would cut them off at 255
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise UnusableImage(f"{kind} pixels, and nothing says which number is white")
    elif image.mode == "P" and "transparency" in image.info:  # says what Pillow would warn of
        image = image.convert("RGBA")
    return image.convert("RGB")


def _of_8_bits(image: Image.Image) -> Image.Image:
    """From a grey image of 9 to 16 bits, which Pillow would cut off at 255, to white."""
    bits, white_is_0 = 16, False
    if isinstance(image, TiffImageFile):
        bits, white_is_0 = (
            image.tag_v2[BITSPERSAMPLE][0],
            image.tag_v2[PHOTOMETRIC_INTERPRETATION] == 0,
        )
    # Of a PGM Pillow has spread the file's range over 16 bits.
    levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - levels if white_is_0 else levels)


def _centre(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)
