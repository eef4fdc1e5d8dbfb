"""`autonat statistics`: reference statistics of a folder, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import image_batches
from models.features import image_features
from models.features.image_features import load_features
from models.metrics.reference_statistics import read_reference

Autonat = Callable[..., tuple[int, str, str]]


def test_they_are_those_of_all_images(autonat: Autonat, squares: Path, tmp_path: Path) -> None:
    """Batches, workers and fitted features change nothing."""
    out = tmp_path / "made" / "real.npz"
    words = ["--features", "pixels", "--side", 2, "--size", 16, "--batch", 7, "--workers", 1]
    code, told, err = autonat("statistics", squares / "pictures", "--out", out, *words, "--json")
    assert code == 0, err
    said = json.loads(told)
    assert (said["images"], said["skipped"]) == (120, 0)
    reference = read_reference(out)
    assert reference.made is not None
    assert (reference.made.size, reference.made.quantised) == (16, True)
    assert reference.made.source == f"folder {squares / 'pictures'}"
    features = load_features(f"pixels:{said['features']}")
    assert reference.made.features_hash == features.hash()

    paths = sorted((squares / "pictures").glob("*/*.png"))
    # Pieces of 40 x 40 pixels, made 16 x 16 as tokenize makes them.
    small = [np.asarray(Image.open(p).resize((16, 16), Image.Resampling.BICUBIC)) for p in paths]
    images = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        found = features(images).double()
    torch.testing.assert_close(reference.statistics.mean, found.mean(0), atol=0.05, rtol=0.01)
    assert reference.halves is not None
    assert reference.halves.first + reference.halves.second == 120
    assert abs(reference.halves.first - 60) < 20
    assert reference.mean_image is not None
    torch.testing.assert_close(reference.mean_image, images.mean(0), atol=0.01, rtol=0.01)
    torch.testing.assert_close(reference.statistics.covariance, found.T.cov(), atol=0.1, rtol=0.05)


def test_the_same_features_again(autonat: Autonat, squares: Path, tmp_path: Path) -> None:
    """Stored features measure another folder; a broken image is named and skipped."""
    pictures = tmp_path / "pictures"
    shutil.copytree(squares / "pictures", pictures)
    (pictures / "china" / "broken.png").write_bytes(b"no picture")
    features = f"pixels:{squares / 'real.pixels.safetensors'}"
    out = tmp_path / "again.npz"
    words = ["--features", features, "--size", 16, "--workers", 0]
    code, told, err = autonat("statistics", pictures, "--out", out, *words)
    assert code == 0, err
    assert told.endswith("again.npz  120 images, 12 features, 1 skipped\n")
    assert "skipped china/broken.png: " in err
    before, after = (read_reference(path).statistics for path in (squares / "real.npz", out))
    torch.testing.assert_close(after.mean, before.mean)
    torch.testing.assert_close(after.covariance, before.covariance)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--out real.npy --features pixels",
            "--out: expected a name that ends in .npz, got real.npy",
        ),
        ("--out r.npz --features nothing", "features = 'nothing' is unknown"),
        ("--out r.npz --features inception:no.pth", "no.pth"),
        ("--out r.npz --features inception:no.pth --side 4", "--side: expected --features pixels"),
        ("--out r.npz --features pixels --size 64 --side 2", "no image can be used"),
        ("--out r.npz --features pixels --size 16 --side 16", "got 120"),
    ],
)
def test_bad_input_is_one_line(autonat: Autonat, squares: Path, words: str, line: str) -> None:
    code, out, err = autonat("statistics", squares / "pictures", *words.split(), "--workers", 0)
    assert (code, out) == (2, "")
    said = [text for text in err.splitlines() if text.startswith("autonat: ")]
    assert len(said) == 1
    assert line in said[0]
    assert "Traceback" not in err


def test_a_folder_without_images(autonat: Autonat, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = autonat(
        "statistics", tmp_path / "empty", "--out", "r.npz", "--features", "pixels"
    )
    assert code == 2
    assert str(tmp_path / "empty") in err


@pytest.mark.parametrize("features", ["pixels", "pixels:{stored}"])
def test_too_few_images_are_said_before_any_is_decoded(
    autonat: Autonat, squares: Path, monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    """The list of files tells it; a broken one counts for nothing only when it is read."""

    def decode(*_: Any) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(image_batches, "load_image", decode)
    filled = features.format(stored=squares / "real.pixels.safetensors")
    words = ["--features", filled, "--size", 16, "--workers", 0, "--out", "r.npz"]
    few = Path("few")
    shutil.copytree(squares / "pictures" / "china", few)
    for file in sorted(few.iterdir())[12:]:
        file.unlink()
    side = ["--side", 50] if features == "pixels" else []
    needed = 7500 if side else 12
    code, out, err = autonat("statistics", few, *words, *side)
    assert (code, out) == (2, "")
    line = (
        f"few: expected at least {needed + 1} images, because the covariance of {needed} features"
    )
    assert err.endswith(f"\nautonat: {line} is singular below that, got 12\n")


def test_what_decoding_finds_missing_is_said_before_anything_is_fitted(
    autonat: Autonat, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Path("few")
    shutil.copytree(squares / "pictures" / "china", few)
    for file in sorted(few.iterdir())[12:]:
        file.write_bytes(b"no picture")

    def fit(*_: Any) -> None:
        raise AssertionError("something was fitted")

    monkeypatch.setattr(image_features, "whitening", fit)
    words = ["--features", "pixels", "--size", 16, "--side", 2, "--out", "r.npz", "--workers", 0]
    code, _, err = autonat("statistics", few, *words)
    assert code == 2
    assert "few: expected at least" in err
