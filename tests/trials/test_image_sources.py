from __future__ import annotations

import io
import json
import os
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from trials.image_sources import ImageSource, Item, UnusableImage, load_image, open_source


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real picture, 90 x 72."""
    return Image.fromarray(load_sample_images().images[0]).resize((90, 72))


def encoded(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def loaded(content: bytes, path: Path, size: int = 64) -> np.ndarray[Any, Any]:
    path.write_bytes(content)
    return load_image(Item(path.name, str(path)), size)


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
    with pytest.raises(UnusableImage, match="in no class's folder"):
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


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "not JSON"),
        ("[]", "not captions as COCO has them"),
        ('{"images": []}', "not captions as COCO has them .'annotations'"),
        ('{"images": [{"id": 1}], "annotations": []}', "not captions as COCO has them"),
        ('{"images": [], "annotations": []}', "no images"),
        (
            '{"images": [], "annotations": [{"image_id": 7, "caption": "x"}]}',
            "a caption's image_id = 7 is not among the images",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], '
            '"annotations": []}',
            "an id is that of two images",
        ),
    ],
)
def test_captions_that_are_not_coco(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "captions.json").write_text(content)
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
        (b"a dog\tx.jpg\nno tab\n", "captions.tsv, line 2: not caption<TAB>file"),
        (b"a dog\thttp://x.org/1.jpg\n", "line 1: a URL; img2dataset fetches such images"),
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
    with pytest.raises(ValueError, match=r"tars hold their own captions; x.json is not needed"):
        open_source(tmp_path, Path("x.json"))
    for content in (b"", b"no tar", whole[: len(whole) // 2]):
        (tmp_path / "0.tar").write_bytes(content)
        with pytest.raises(ValueError, match="0.tar: not a tar, or cut off"):
            open_source(tmp_path)


def test_places_without_images(tmp_path: Path) -> None:
    for place, line in ((tmp_path, "no images"), (tmp_path / "x", "x: No such file")):
        with pytest.raises(ValueError, match=line):
            open_source(place)
    put(tmp_path / "1.jpg")
    with pytest.raises(ValueError, match=r"captions.csv: captions are a .json of COCO or a .tsv"):
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
    with pytest.raises(UnusableImage, match="short side 72 is below 73"):
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
