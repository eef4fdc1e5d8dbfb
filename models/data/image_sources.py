"""Where images come from: an image folder, COCO or CC3M.

A source lists its images once, in an order of its own; an image is read and decoded where it is
needed, in any process.
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
    """An image that is skipped; its message is the reason."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image that a source lists.

    Attributes:
        name: within the source, as people know it, and as it can be written (see `printable`).
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
    def usable(self) -> int:
        """How many images can be used, as far as the list tells; decoding may find fewer."""
        return sum(item.fault is None for item in self.items)

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
    if not any(tar.is_file() for tar in tars):
        tars = []
    if captions is None:
        return _tars(images, tars, report) if tars else _folder(images)
    if tars:
        raise ValueError(f"{images}: tars hold their own captions; {captions} is not needed")
    readers = {".json": _coco, ".tsv": _tsv}
    if captions.suffix.lower() not in readers:
        raise ValueError(f"{captions}: captions are a .json of COCO or a .tsv of caption<TAB>file")
    if (reason := not_a_file(captions)) is not None:
        raise ValueError(f"{captions}: {reason}")
    try:
        return readers[captions.suffix.lower()](images, captions)
    except OSError as error:
        raise ValueError(f"{captions}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{captions}: not UTF-8 text") from None


def _folder(root: Path) -> ImageSource:
    """Classes are the sub-folders, sorted, with all that lies below them."""
    files = [(file.split(os.sep, 1), file, fault) for file, fault in files_below(root)]
    names = sorted({parts[0] for parts, _, fault in files if len(parts) > 1 and fault is None})
    labels = {name: label for label, name in enumerate(names)}
    items = []
    for parts, file, fault in files:
        label = labels.get(parts[0]) if len(parts) > 1 else None
        if fault is None and names and label is None:
            fault = "in no class's folder"
        told = None if fault is None else printable(fault)
        items.append(Item(printable(file), str(root / file), label, fault=told))
    return ImageSource("folder", printable(str(root)), items, tuple(map(printable, names)))


def _coco(root: Path, path: Path) -> ImageSource:
    """COCO's captions: `images` with id and file_name, `annotations` with image_id and caption."""
    content = read_json(path)
    try:
        files = {image["id"]: image["file_name"] for image in content["images"]}
        listed = len(content["images"])
        captions: dict[Any, list[Any]] = {}
        for annotation in content["annotations"]:
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not captions as COCO has them ({error})") from None
    if len(files) < listed:
        raise ValueError(f"{path}: an id is that of two images")
    for unknown in captions.keys() - files.keys():
        raise ValueError(f"{path}: a caption's image_id = {unknown!r} is not among the images")
    by_file: dict[str, list[Any]] = {}
    for number, file in files.items():
        if not isinstance(file, str) or not file:
            raise ValueError(f"{path}: the image of id = {number!r} has the file_name {file!r}")
        by_file.setdefault(os.path.normpath(file), []).extend(captions.get(number, []))
    items = [_captioned(file, root / file, texts) for file, texts in by_file.items()]
    return ImageSource("COCO", printable(f"{root}, {path.name}"), items)


def _tsv(root: Path, path: Path) -> ImageSource:
    """Lines of caption<TAB>file; a file that comes again has several captions."""
    captions: dict[str, list[Any]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            caption, tab, file = line.strip("\r\n").rpartition("\t")
            if line.strip() and not tab:
                raise ValueError(f"{path}, line {number}: not caption<TAB>file")
            if "://" in file:
                raise ValueError(f"{path}, line {number}: a URL; img2dataset fetches such images")
            if tab:
                captions.setdefault(os.path.normpath(file.strip()), []).append(caption)
    items = [_captioned(file, root / file, texts) for file, texts in captions.items()]
    return ImageSource("TSV", printable(f"{root}, {path.name}"), items)


def _tars(place: Path, tars: list[Path], report: Report) -> ImageSource:
    """Tars as img2dataset makes them: KEY.jpg, KEY.txt with the caption, KEY.json with all."""
    items: list[Item] = []
    taken: dict[str, str] = {}
    for done, path in enumerate(tars, 1):
        known = taken.setdefault(os.path.realpath(path), path.name)
        fault = not_a_file(path)
        if fault is None and known != path.name:
            fault = f"the same as {known}, which is listed already"
        if fault is not None:
            items.append(Item(printable(path.name), str(path), fault=printable(fault)))
            continue
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
            yield Item(printable(name), str(path), fault="a link within its tar, not a file")
            continue
        texts = [_caption(captions.get(key, {}))]
        yield _captioned(name, path, texts, offset=member.offset_data, size=member.size)


def _caption(texts: dict[str, str]) -> str:
    """The caption in KEY.txt, else that in KEY.json."""
    if ".txt" in texts:
        return texts[".txt"]
    try:
        found = parse_json(texts.get(".json", "{}"))
    except ValueError:
        return ""
    caption = found.get("caption") if isinstance(found, dict) else None
    return caption if isinstance(caption, str) else ""


def _captioned(
    name: str, path: Path, texts: list[Any], offset: int = 0, size: int | None = None
) -> Item:
    """An image with those of its captions that are text."""
    # JSON may hold halves of characters, which no file of text can.
    plain = [text.encode("utf-8", "replace").decode() for text in texts if isinstance(text, str)]
    captions = tuple(" ".join(text.split()) for text in plain if text.strip())
    fault = None if captions else "no caption"
    return Item(printable(name), str(path), None, captions, offset, size, fault)
