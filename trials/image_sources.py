"""Where images come from: an image folder, COCO or CC3M, and how they become arrays of one size.

A source lists its images once, in an order of its own; an image is read and decoded where it is
needed, in any process.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What is decoded. Pillow knows others, some of which start programs."""

TAR_IMAGES = (".jpg", ".jpeg", ".png", ".webp")

Report = Callable[[int, int, str], None]


class UnusableImage(ValueError):
    """An image that is skipped; its message is the reason."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image that a source lists.

    Attributes:
        name: within the source, as people know it.
        path: the file, or the tar that holds it.
        label: its class.
        captions: of the image; more than one at times.
        offset: first byte within the tar.
        size: bytes within the tar; None for a file of its own.
        fault: why the image cannot be used, if the source knows already.
    """

    name: str
    path: str
    label: int | None = None
    captions: tuple[str, ...] = ()
    offset: int = 0
    size: int | None = None
    fault: str | None = None

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            UnusableImage: it cannot be read.
        """
        if self.fault is not None:
            raise UnusableImage(self.fault)
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read(-1 if self.size is None else self.size)
        except OSError as error:
            raise UnusableImage(error.strerror or str(error)) from None


@dataclass(frozen=True)
class ImageSource:
    """Images in order.

    Attributes:
        kind: "folder", "COCO", "TSV" or "tars".
        place: what was given, for people to read.
        items: at least one.
        class_names: by class; empty where there are no classes.
    """

    kind: str
    place: str
    items: list[Item] = field(repr=False)
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"{self.place}: no images")

    @property
    def captioned(self) -> bool:
        """Whether every usable image has a caption."""
        return self.kind != "folder"

    def hash(self) -> str:
        """SHA-256 of what is listed: names, classes and captions. Not of the images themselves."""
        digest = hashlib.sha256(json.dumps([self.kind, self.class_names]).encode())
        for item in self.items:
            digest.update(json.dumps([item.name, item.label, item.captions]).encode())
        return f"sha256:{digest.hexdigest()}"


def open_source(
    images: Path, captions: Path | None = None, report: Report = lambda *_: None
) -> ImageSource:
    """The source that is meant by what is given.

    Args:
        images: a folder of images, or of img2dataset's tars, or one tar.
        captions: a COCO JSON (.json), or lines of caption<TAB>file (.tsv); names are relative to
            the folder. Tars hold their own.
        report: called with (tars read, tars, "").

    Raises:
        ValueError: missing, empty or unreadable, or files that do not hold what they should.
    """
    try:
        tars = [images] if images.is_file() else sorted(images.glob("*.tar"))
        if not images.is_file():
            os.listdir(images)  # a glob of a folder that cannot be read is only empty
    except OSError as error:
        raise ValueError(f"{images}: {error.strerror}") from None
    if captions is None:
        return _tars(images, tars, report) if tars else _folder(images)
    if tars:
        raise ValueError(f"{images}: tars hold their own captions; {captions} is not needed")
    readers = {".json": _coco, ".tsv": _tsv}
    if captions.suffix.lower() not in readers:
        raise ValueError(f"{captions}: captions are a .json of COCO or a .tsv of caption<TAB>file")
    try:
        return readers[captions.suffix.lower()](images, captions)
    except OSError as error:
        raise ValueError(f"{captions}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{captions}: not UTF-8 text") from None


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
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255, to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:  # says what Pillow would warn of
        image = image.convert("RGBA")
    return image.convert("RGB")


def _centre(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def _folder(root: Path) -> ImageSource:
    """Classes are the sub-folders, sorted, with all that lies below them."""
    files = list(_files(root))
    parts = [file.split(os.sep, 1) for file in files]
    names = tuple(sorted({first for first, *rest in parts if rest}))
    labels = {name: label for label, name in enumerate(names)}
    items = [
        Item(
            file,
            str(root / file),
            labels.get(first) if rest else None,
            fault="in no class's folder" if names and not rest else None,
        )
        for file, (first, *rest) in zip(files, parts, strict=True)
    ]
    return ImageSource("folder", str(root), items, names)


def _files(root: Path) -> Iterator[str]:
    """Paths below the root of all files that are not hidden, sorted folder by folder."""

    def fail(error: OSError) -> None:
        raise ValueError(f"{error.filename}: {error.strerror}")

    for folder, below, files in os.walk(root, onerror=fail, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = os.path.relpath(folder, root)
        for file in sorted(files):
            if not file.startswith("."):
                yield file if inside == os.curdir else os.path.join(inside, file)


def _coco(root: Path, path: Path) -> ImageSource:
    """COCO's captions: `images` with id and file_name, `annotations` with image_id and caption."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        listed = len(content["images"])
        captions: dict[Any, list[str]] = {}
        for annotation in content["annotations"]:
            captions.setdefault(annotation["image_id"], []).append(str(annotation["caption"]))
    except json.JSONDecodeError:
        raise ValueError(f"{path}: not JSON") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not captions as COCO has them ({error})") from None
    if len(files) < listed:
        raise ValueError(f"{path}: an id is that of two images")
    for unknown in captions.keys() - files.keys():
        raise ValueError(f"{path}: a caption's image_id = {unknown!r} is not among the images")
    items = [
        _captioned(file, root / file, captions.get(number, [])) for number, file in files.items()
    ]
    return ImageSource("COCO", f"{root}, {path.name}", items)


def _tsv(root: Path, path: Path) -> ImageSource:
    """Lines of caption<TAB>file; a file that comes again has several captions."""
    captions: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            caption, tab, file = line.strip("\r\n").rpartition("\t")
            if line.strip() and not tab:
                raise ValueError(f"{path}, line {number}: not caption<TAB>file")
            if "://" in file:
                raise ValueError(f"{path}, line {number}: a URL; img2dataset fetches such images")
            if tab:
                captions.setdefault(file.strip(), []).append(caption)
    items = [_captioned(file, root / file, texts) for file, texts in captions.items()]
    return ImageSource("TSV", f"{root}, {path.name}", items)


def _tars(place: Path, tars: list[Path], report: Report) -> ImageSource:
    """Tars as img2dataset makes them: KEY.jpg, KEY.txt with the caption, KEY.json with all."""
    items: list[Item] = []
    for done, path in enumerate(tars, 1):
        try:
            items += _members(path)
        except (tarfile.TarError, EOFError):
            raise ValueError(f"{path}: not a tar, or cut off") from None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        report(done, len(tars), "")
    return ImageSource("tars", str(place), items)


def _members(path: Path) -> Iterator[Item]:
    images: dict[str, tarfile.TarInfo] = {}
    captions: dict[str, dict[str, str]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, suffix = os.path.splitext(member.name)
            if not member.isfile():
                continue
            if suffix.lower() in TAR_IMAGES:
                images[key] = member
            elif suffix in (".txt", ".json"):
                file = tar.extractfile(member)
                text = "" if file is None else file.read().decode("utf-8", "replace")
                captions.setdefault(key, {})[suffix] = text
    for key, member in images.items():
        yield _captioned(
            f"{path.name}/{member.name}",
            path,
            [_caption(captions.get(key, {}))],
            offset=member.offset_data,
            size=member.size,
        )


def _caption(texts: dict[str, str]) -> str:
    """The caption in KEY.txt, else that in KEY.json."""
    if ".txt" in texts:
        return texts[".txt"]
    try:
        found = json.loads(texts.get(".json", "{}"))
    except json.JSONDecodeError:
        return ""
    caption = found.get("caption") if isinstance(found, dict) else None
    return caption if isinstance(caption, str) else ""


def _captioned(
    name: str, path: Path, texts: list[str], offset: int = 0, size: int | None = None
) -> Item:
    captions = tuple(" ".join(text.split()) for text in texts if text.strip())
    fault = None if captions else "no caption"
    return Item(name, str(path), None, captions, offset, size, fault)
