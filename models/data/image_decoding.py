"""Decodes image files to arrays of one size."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from models.data.image_sources import Item, UnusableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are decoded. Pillow knows others, some of which start other programs."""


def load_image(item: Item, size: int) -> npt.NDArray[np.uint8]:
    """Read and decode an image to [size, size, 3], in the same way as ADM.

    The image is converted to RGB and halved (box filter) while its short side is at least twice the
    size; then it is scaled to the size (bicubic), and its centre is cut out. The orientation of
    EXIF is ignored.

    Raises:
        UnusableImage: it is not an image, it is cut off, or its short side is below the size.
    """
    content = item.read()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if min(image.size) < size:
                raise UnusableImage(f"short side {min(image.size)} is below size = {size}")
            return _centre_crop(_to_rgb(image), size)
    except UnusableImage:
        raise
    except Exception as error:  # of any type, because Pillow's parsers raise many
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("cannot identify"):
            reason = "not an image" if content else "empty file"
        raise UnusableImage(reason) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB with 8 bits a channel; alpha is dropped, as ADM does.

    Raises:
        UnusableImage: the pixels are integers of 32 bits or floats, for which white is undefined.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _to_8_bits(image)
    elif image.mode in ("I", "F"):  # Pillow would clip them at 255
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise UnusableImage(f"{kind} pixels, for which no number is known to be white")
    elif image.mode == "P" and "transparency" in image.info:  # done here to avoid Pillow's warning
        image = image.convert("RGBA")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Convert a grey image of 9 to 16 bits, which Pillow would clip at 255, to 8 bits."""
    bits, white_is_0 = 16, False
    if isinstance(image, TiffImageFile):
        bits, white_is_0 = (
            image.tag_v2[BITSPERSAMPLE][0],
            image.tag_v2[PHOTOMETRIC_INTERPRETATION] == 0,
        )
    # For a PGM file, Pillow has scaled the values to 16 bits already.
    levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - levels if white_is_0 else levels)


def _centre_crop(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)
