"""Sources of images: an image folder, COCO or CC3M.

A source lists its images once, in a fixed order. Any process can then read and decode an image.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.data.picture_files import files_below, printable
from models.regular_files import not_a_file
from search.progress import Report
from search.reading import parse_json, read_json

TAR_IMAGES = (".jpg", ".jpeg", ".png", ".webp")


class UnusableImage(ValueError):
    """An image that is skipped; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image in the list of a source.

    Attributes:
        name: its name within the source, in printable characters (see `printable`).
        path: the file, or the tar that contains it.
        label: its class, or None.
        captions: its captions, possibly several.
        offset: its first byte within the tar.
        size: its number of bytes within the tar; None for a separate file.
        fault: the reason why the image cannot be used, if the source knows one already.
    """

    name: str
    path: str
    label: int | None = None
    captions: tuple[str, ...] = ()
    offset: int = 0
    size: int | None = None
    fault: str | None = None

    def read(self) -> bytes:
        """Read the bytes of the image file.

        Raises:
            UnusableImage: it cannot be read.
        """
        if (fault := self.fault or not_a_file(self.path)) is not None:
            raise UnusableImage(fault)
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read(-1 if self.size is None else self.size)
        except OSError as error:
            raise UnusableImage(error.strerror or str(error)) from None


@dataclass(frozen=True)
class ImageSource:
    """A list of images.

    Attributes:
        kind: "folder", "COCO", "TSV" or "tars".
        place: the place of the images, for people to read.
        items: the images in order, at least one.
        class_names: the names of the classes; empty if there are no classes.
    """

    kind: str
    place: str
    items: list[Item] = field(repr=False)
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"{self.place}: no images")

    @property
    def usable(self) -> int:
        """The number of images without a known fault; decoding may find fewer."""
        return sum(item.fault is None for item in self.items)

    @property
    def captioned(self) -> bool:
        """Whether every usable image has a caption."""
        return self.kind != "folder"

    def hash(self) -> str:
        """Return the SHA-256 of the list: names, classes and captions, but not image contents."""
        digest = hashlib.sha256(json.dumps([self.kind, self.class_names]).encode())
        for item in self.items:
            digest.update(json.dumps([item.name, item.label, item.captions]).encode())
        return f"sha256:{digest.hexdigest()}"


def open_source(
    images: Path, captions: Path | None = None, report: Report = lambda *_: None
) -> ImageSource:
    """Open a source of images.

    Args:
        images: a folder of images, a folder of img2dataset's tars, or one tar.
        captions: a .json file of COCO, or a .tsv file with lines of caption<TAB>file, where names
            are relative to the folder. Tars contain their own captions.
        report: called with (tars read, tars, "").

    Raises:
        ValueError: a file or folder is missing, empty, unreadable or of another format.
    """
    try:
        tars = [images] if images.is_file() else sorted(images.glob("*.tar"))
        if not images.is_file():
            os.listdir(images)  # unlike a glob, this fails if the folder cannot be read
    except OSError as error:
        raise ValueError(f"{images}: {error.strerror}") from None
    if not any(tar.is_file() for tar in tars):
        tars = []
    if captions is None:
        if tars and images.is_dir():
            _refuse_pictures_beside(images, tars[0])
        return _tar_source(images, tars, report) if tars else _folder_source(images)
    if tars:
        raise ValueError(f"{images}: tars contain their own captions; remove {captions}")
    readers = {".json": _coco_source, ".tsv": _tsv_source}
    if captions.suffix.lower() not in readers:
        raise ValueError(
            f"{captions}: expected captions in a .json file of COCO or a .tsv file of "
            "caption<TAB>file"
        )
    if (reason := not_a_file(captions)) is not None:
        raise ValueError(f"{captions}: {reason}")
    try:
        return readers[captions.suffix.lower()](images, captions)
    except OSError as error:
        raise ValueError(f"{captions}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{captions}: not UTF-8 text") from None


def _refuse_pictures_beside(folder: Path, tar: Path) -> None:
    """Refuse a folder that holds tars and pictures, of which only one kind would be read."""
    names = [name for name, _ in files_below(folder)]
    picture = next((name for name in names if name.lower().endswith(TAR_IMAGES)), None)
    if picture is not None:
        raise ValueError(
            f"{folder}: expected pictures or tars of pictures, got both, such as {picture} and "
            f"{tar.name}"
        )


def _folder_source(root: Path) -> ImageSource:
    """List a folder whose sorted sub-folders, with everything below them, are the classes."""
    files = [(file.split(os.sep, 1), file, fault) for file, fault in files_below(root)]
    names = sorted({parts[0] for parts, _, fault in files if len(parts) > 1 and fault is None})
    labels = {name: label for label, name in enumerate(names)}
    items = []
    for parts, file, fault in files:
        label = labels.get(parts[0]) if len(parts) > 1 else None
        if fault is None and names and label is None:
            fault = "not in a folder of a class"
        reason = None if fault is None else printable(fault)
        items.append(Item(printable(file), str(root / file), label, fault=reason))
    return ImageSource("folder", printable(str(root)), items, tuple(map(printable, names)))


def _coco_source(root: Path, path: Path) -> ImageSource:
    """List the images of COCO's captions.

    The file has `images` with id and file_name, and `annotations` with image_id and caption.
    """
    content = read_json(path)
    try:
        files = {image["id"]: image["file_name"] for image in content["images"]}
        listed = len(content["images"])
        captions: dict[Any, list[Any]] = {}
        for annotation in content["annotations"]:
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not captions in the format of COCO ({error})") from None
    if len(files) < listed:
        raise ValueError(f"{path}: two images have the same id")
    for unknown in captions.keys() - files.keys():
        raise ValueError(f"{path}: a caption has image_id = {unknown!r}, but no image has this id")
    by_file: dict[str, list[Any]] = {}
    for number, file in files.items():
        if not isinstance(file, str) or not file:
            raise ValueError(
                f"{path}: expected a file_name of the image with id = {number!r}, got {file!r}"
            )
        by_file.setdefault(os.path.normpath(file), []).extend(captions.get(number, []))
    items = [_captioned_item(file, root / file, texts) for file, texts in by_file.items()]
    return ImageSource("COCO", printable(f"{root}, {path.name}"), items)


def _tsv_source(root: Path, path: Path) -> ImageSource:
    """List the images of lines caption<TAB>file; a file on several lines has several captions."""
    captions: dict[str, list[Any]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            caption, tab, file = line.strip("\r\n").rpartition("\t")
            if line.strip() and not tab:
                raise ValueError(f"{path}, line {number}: expected caption<TAB>file")
            if "://" in file:
                raise ValueError(
                    f"{path}, line {number}: expected a file, got a URL; fetch such images with "
                    "img2dataset"
                )
            if tab:
                captions.setdefault(os.path.normpath(file.strip()), []).append(caption)
    items = [_captioned_item(file, root / file, texts) for file, texts in captions.items()]
    return ImageSource("TSV", printable(f"{root}, {path.name}"), items)


def _tar_source(place: Path, tars: list[Path], report: Report) -> ImageSource:
    """List the images of tars made by img2dataset.

    These contain KEY.jpg, KEY.txt with the caption, and KEY.json with all fields.
    """
    items: list[Item] = []
    listed: dict[str, str] = {}
    for done, path in enumerate(tars, 1):
        known = listed.setdefault(os.path.realpath(path), path.name)
        fault = not_a_file(path)
        if fault is None and known != path.name:
            fault = f"the same as {known}, which is listed already"
        if fault is not None:
            items.append(Item(printable(path.name), str(path), fault=printable(fault)))
            continue
        try:
            items += _tar_items(path)
        except (tarfile.TarError, EOFError):
            raise ValueError(f"{path}: not a tar file, or cut off") from None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        report(done, len(tars), "")
    return ImageSource("tars", str(place), items)


def _tar_items(path: Path) -> Iterator[Item]:
    images: dict[str, tarfile.TarInfo] = {}
    captions: dict[str, dict[str, str]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, suffix = os.path.splitext(member.name)
            if suffix.lower() in TAR_IMAGES and not member.isdir():
                images[key] = member
            elif not member.isfile():
                continue
            elif suffix in (".txt", ".json"):
                file = tar.extractfile(member)
                text = "" if file is None else file.read().decode("utf-8-sig", "replace")
                captions.setdefault(key, {})[suffix] = text
    for key, member in images.items():
        name = f"{path.name}/{member.name}"
        if not member.isfile():
            yield Item(printable(name), str(path), fault="a link within the tar, not a file")
            continue
        texts = [_tar_caption(captions.get(key, {}))]
        yield _captioned_item(name, path, texts, offset=member.offset_data, size=member.size)


def _tar_caption(texts: dict[str, str]) -> str:
    """Return the caption in KEY.txt, or else the one in KEY.json."""
    if ".txt" in texts:
        return texts[".txt"]
    try:
        found = parse_json(texts.get(".json", "{}"))
    except ValueError:
        return ""
    caption = found.get("caption") if isinstance(found, dict) else None
    return caption if isinstance(caption, str) else ""


def _captioned_item(
    name: str, path: Path, texts: list[Any], offset: int = 0, size: int | None = None
) -> Item:
    """Make an item whose captions are those texts that are not empty."""
    # JSON may contain surrogates, which cannot be written to a text file.
    plain = [text.encode("utf-8", "replace").decode() for text in texts if isinstance(text, str)]
    captions = tuple(" ".join(text.split()) for text in plain if text.strip())
    fault = None if captions else "no caption"
    return Item(printable(name), str(path), None, captions, offset, size, fault)
