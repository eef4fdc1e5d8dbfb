from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.data.image_decoding import load_image
from models.data.image_sources import ImageSource, UnusableImage, open_source


def encoded(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def put(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tarred(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def names(source: ImageSource) -> list[str]:
    return [item.name for item in source.items]


def test_classes_are_the_sorted_sub_folders(tmp_path: Path) -> None:
    for file in ("zebra/b.jpg", "zebra/a.jpg", "ape/deep/er/c.png", "ape/d.png", "readme.txt"):
        put(tmp_path / file)
    for hidden in (".git/config", "ape/.DS_Store", ".hidden.jpg"):
        put(tmp_path / hidden)
    (tmp_path / "nothing").mkdir()
    source = open_source(tmp_path)
    assert (source.kind, source.class_names) == ("folder", ("ape", "zebra"))
    assert not source.captioned
    assert [(item.name, item.label) for item in source.items] == [
        ("readme.txt", None),
        ("ape/d.png", 0),
        ("ape/deep/er/c.png", 0),
        ("zebra/a.jpg", 1),
        ("zebra/b.jpg", 1),
    ]
    with pytest.raises(UnusableImage, match="not in a folder of a class"):
        load_image(source.items[0], 8)


def test_a_folder_without_classes(tmp_path: Path) -> None:
    for file in ("b.jpg", "a.jpg"):
        put(tmp_path / file)
    source = open_source(tmp_path)
    assert [(item.name, item.label) for item in source.items] == [("a.jpg", None), ("b.jpg", None)]
    assert source.class_names == ()


def test_coco(tmp_path: Path, photo: Image.Image) -> None:
    put(tmp_path / "val" / "1.png", encoded(photo))
    captions = {
        "images": [{"id": 9, "file_name": "1.png"}, {"id": 3, "file_name": "2.png"}],
        "annotations": [
            {"id": 1, "image_id": 9, "caption": "A pagoda.\n"},
            {"id": 2, "image_id": 3, "caption": "Another one."},
            {"id": 3, "image_id": 9, "caption": "Roofs,  seen from below"},
        ],
    }
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    source = open_source(tmp_path / "val", tmp_path / "captions.json")
    assert (source.kind, names(source)) == ("COCO", ["1.png", "2.png"])
    assert source.items[0].captions == ("A pagoda.", "Roofs, seen from below")
    assert load_image(source.items[0], 64).shape == (64, 64, 3)
    with pytest.raises(UnusableImage, match="No such file"):
        load_image(source.items[1], 64)


def test_captions_that_are_no_text_are_none(tmp_path: Path) -> None:
    """In COCO and in img2dataset's tars; halves of characters, which no file holds, become "?"."""
    found = [None, "", " \n", 3, ["x"], {"a": 1}, True, "half \ud83d of one", "a \U0001f600"]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(len(found))],
        "annotations": [{"image_id": i, "caption": caption} for i, caption in enumerate(found)],
    }
    content["annotations"].append({"image_id": 8, "caption": None})
    (tmp_path / "captions.json").write_text(json.dumps(content))
    tarred(
        tmp_path / "0.tar",
        {
            name: text
            for i, caption in enumerate(found)
            for name, text in (
                (f"{i}.png", b""),
                (f"{i}.json", json.dumps({"caption": caption}).encode()),
            )
        },
    )
    tar = open_source(tmp_path / "0.tar")
    (tmp_path / "0.tar").unlink()
    for source in (tar, open_source(tmp_path, tmp_path / "captions.json")):
        assert [item.captions for item in source.items] == [
            *[()] * 7,
            ("half ? of one",),
            ("a \U0001f600",),
        ]
        assert [item.fault for item in source.items] == [*["no caption"] * 7, None, None]


def test_a_file_that_is_listed_twice_has_both_captions(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "./x/../a.png"}],
        "annotations": [{"image_id": 2, "caption": "two"}, {"image_id": 1, "caption": "one"}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(content))
    (tmp_path / "captions.tsv").write_text("one\ta.png\ntwo\t./a.png\n")
    for name in ("captions.json", "captions.tsv"):
        items = open_source(tmp_path, tmp_path / name).items
        assert [(item.name, item.captions) for item in items] == [("a.png", ("one", "two"))]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            '{"images": [{"id": 1, "file_name": null}], "annotations": []}',
            "expected a file_name of the image with id = 1, got None",
        ),
        ("{", "not JSON"),
        ("[" * 100_000, "captions.json: it is nested too deeply"),
        ("[]", "not captions in the format of COCO"),
        ('{"images": []}', "not captions in the format of COCO .'annotations'"),
        ('{"images": [{"id": 1}], "annotations": []}', "not captions in the format of COCO"),
        ('{"images": [], "annotations": []}', "no images"),
        (
            '{"images": [], "annotations": [{"image_id": 7, "caption": "x"}]}',
            "a caption has image_id = 7, but no image has this id",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], '
            '"annotations": []}',
            "two images have the same id",
        ),
    ],
)
def test_captions_that_are_not_coco(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "captions.json").write_text(content, encoding="utf-8-sig")
    with pytest.raises(ValueError, match=line):
        open_source(tmp_path, tmp_path / "captions.json")


def test_a_tsv_of_captions(tmp_path: Path) -> None:
    text = "a dog\tx/1.jpg\r\n\r\na cat\u2028on a mat\tx/2.jpg\nthe dog\tx/1.jpg\n \tx/3.jpg\n"
    (tmp_path / "captions.tsv").write_text(text, encoding="utf-8", newline="")
    source = open_source(tmp_path, tmp_path / "captions.tsv")
    assert [(item.name, item.captions) for item in source.items] == [
        ("x/1.jpg", ("a dog", "the dog")),
        ("x/2.jpg", ("a cat on a mat",)),
        ("x/3.jpg", ()),
    ]
    assert source.items[2].fault == "no caption"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a dog\tx.jpg\nno tab\n", "captions.tsv, line 2: expected caption<TAB>file"),
        (b"a dog\thttp://x.org/1.jpg\n", "line 1: expected a file, got a URL"),
        (b"", "no images"),
        (b"\xff\xfe\t\xff\n", "not UTF-8 text"),
    ],
)
def test_a_tsv_that_is_none(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "captions.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=line):
        open_source(tmp_path, tmp_path / "captions.tsv")


def test_tars_of_img2dataset(tmp_path: Path, photo: Image.Image) -> None:
    one, two = encoded(photo, "JPEG"), encoded(photo.rotate(180), "WEBP", lossless=True)
    tarred(
        tmp_path / "00001.tar",
        {"000010000.webp": two, "000010000.txt": b"upside down", "000010001.png": one},
    )
    tarred(
        tmp_path / "00000.tar",
        {
            "000000000.jpg": one,
            "000000000.json": json.dumps({"caption": "by json", "status": "success"}).encode(),
            "000000001.jpg": one,
            "000000001.json": b'{"caption": "of the json"}',
            "000000001.txt": "of the text é".encode(),
        },
    )
    put(tmp_path / "00000.parquet")
    reported: list[tuple[int, int, str]] = []
    source = open_source(tmp_path, report=lambda *told: reported.append(told))
    assert (source.kind, source.captioned) == ("tars", True)
    assert {item.name: item.captions for item in source.items} == {
        "00000.tar/000000000.jpg": ("by json",),
        "00000.tar/000000001.jpg": ("of the text é",),
        "00001.tar/000010000.webp": ("upside down",),
        "00001.tar/000010001.png": (),
    }
    assert reported == [(1, 2, ""), (2, 2, "")]
    assert [item.read() for item in source.items[:3]] == [one, one, two]
    pixels = load_image(source.items[2], 72)
    np.testing.assert_array_equal(pixels, np.asarray(photo.rotate(180))[:, 9:81])
    assert names(open_source(tmp_path / "00000.tar")) == names(source)[:2]


def test_tars_that_are_none(tmp_path: Path, photo: Image.Image) -> None:
    tarred(tmp_path / "0.tar", {f"{i}.jpg": encoded(photo) for i in range(3)})
    whole = (tmp_path / "0.tar").read_bytes()
    with pytest.raises(ValueError, match=r"tars contain their own captions; remove x.json"):
        open_source(tmp_path, Path("x.json"))
    for content in (b"", b"no tar", whole[: len(whole) // 2]):
        (tmp_path / "0.tar").write_bytes(content)
        with pytest.raises(ValueError, match="0.tar: not a tar file, or cut off"):
            open_source(tmp_path)
    put(tmp_path / "a" / "b.PNG")
    with pytest.raises(ValueError, match=r"or tars of pictures, got both, such as a/b.PNG and 0.t"):
        open_source(tmp_path)


def test_places_without_images(tmp_path: Path) -> None:
    for place, line in ((tmp_path, "no images"), (tmp_path / "x", "x: No such file")):
        with pytest.raises(ValueError, match=line):
            open_source(place)
    put(tmp_path / "1.jpg")
    with pytest.raises(
        ValueError, match=r"captions.csv: expected captions in a .json file of COCO or a .tsv"
    ):
        open_source(tmp_path, tmp_path / "captions.csv")
    with pytest.raises(ValueError, match=r"captions.json: No such file"):
        open_source(tmp_path, tmp_path / "captions.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path / "pictures" / "closed" / "1.jpg")
    for closed in (tmp_path / "pictures" / "closed", tmp_path / "pictures"):
        closed.chmod(0)
        try:
            with pytest.raises(ValueError, match=f"{closed}: Permission denied"):
                open_source(tmp_path / "pictures")
        finally:
            closed.chmod(0o700)


def test_the_hash_tells_lists_apart(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1.jpg")
    hashes = [open_source(tmp_path).hash(), open_source(tmp_path).hash()]
    put(tmp_path / "a" / "2.jpg")
    hashes.append(open_source(tmp_path).hash())
    (tmp_path / "a" / "2.jpg").rename(tmp_path / "a" / "3.jpg")
    hashes.append(open_source(tmp_path).hash())
    assert len(set(hashes)) == 3


def test_listed_files_that_are_none_have_their_reason(tmp_path: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("nothing.png")
    reasons = {
        "pipe.png": "a named pipe (FIFO), not a regular file",
        "link.png": "a broken link",
        "nothing.png": "No such file or directory",
        "../..": "Is a directory",
        "/dev/zero": "a device, not a regular file",
        "a\0.png": "not a name that a file can have",
        "a\ud83d.png": "not a name that a file can have",
    }
    content = {
        "images": [{"id": name, "file_name": name} for name in reasons],
        "annotations": [{"image_id": name, "caption": "x"} for name in reasons],
    }
    (tmp_path / "captions.json").write_text(json.dumps(content))
    items = open_source(tmp_path, tmp_path / "captions.json").items
    assert [item.name for item in items][-2:] == ["a\\x00.png", "a\\ud83d.png"]
    for item, reason in zip(items, reasons.values(), strict=True):
        with pytest.raises(UnusableImage) as caught:
            load_image(item, 8)
        assert str(caught.value) == reason
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match=r"pipe.json: a named pipe \(FIFO\), not a regular file"):
        open_source(tmp_path, tmp_path / "pipe.json")


def test_tars_once_each_and_no_pipe_among_them(tmp_path: Path, photo: Image.Image) -> None:
    tars = tmp_path / "tars"
    tars.mkdir()
    tarred(tars / "1.tar", {"a.png": encoded(photo), "a.txt": b"a roof"})
    with tarfile.open(tars / "1.tar", "a") as tar:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        tar.addfile(link)
    (tars / "0.tar").symlink_to("1.tar")
    (tars / "3.tar").symlink_to("nothing")
    (tars / "4.tar").mkdir()
    os.mkfifo(tars / "2.tar")
    found = [(item.name, item.fault) for item in open_source(tars).items]
    assert found == [
        ("0.tar/a.png", None),
        ("0.tar/b.png", "a link within the tar, not a file"),
        ("1.tar", "the same as 0.tar, which is listed already"),
        ("2.tar", "a named pipe (FIFO), not a regular file"),
        ("3.tar", "a broken link"),
        ("4.tar", "Is a directory"),
    ]
