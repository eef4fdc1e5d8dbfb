"""`autonat statistics`: reference statistics of a folder, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.image_features import load_features
from models.reference_statistics import read_reference

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
        ("--out real.npy --features pixels", "--out real.npy is not a .npz file"),
        ("--out r.npz --features nothing", "features = 'nothing' are unknown"),
        ("--out r.npz --features inception:no.pth", "no.pth"),
        ("--out r.npz --features inception:no.pth --side 4", "--side: only where pixels are"),
        ("--out r.npz --features pixels --size 64", "no image can be used"),
        ("--out r.npz --features pixels --size 16 --side 16", "120 images are too few"),
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
