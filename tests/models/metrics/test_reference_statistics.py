"""Reference statistics in the public format, and in ours."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.metrics.anchors import Halves
from models.metrics.frechet import Statistics
from models.metrics.reference_statistics import Made, Reference, read_reference, write_reference

STATISTICS = Statistics(torch.arange(3).double(), torch.eye(3).double() * 2, 40)
MADE = Made("Inception 2015", "sha256:0", 256, True, "folder x")


def test_a_public_file_does_not_say_how_it_was_made(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", mu=np.arange(3.0), sigma=np.eye(3, dtype=np.float32) * 2)
    found = read_reference(tmp_path / "r.npz")
    assert found.made is None
    assert found.statistics.images is None
    torch.testing.assert_close(found.statistics.covariance, STATISTICS.covariance)
    assert found.statistics.hash() != STATISTICS.hash()


def test_ours_says_so_and_can_be_read_as_a_public_one(tmp_path: Path) -> None:
    write_reference(tmp_path / "r.npz", Reference(STATISTICS, MADE))
    found = read_reference(tmp_path / "r.npz")
    assert found.made == MADE
    assert found.statistics.images == 40
    assert found.statistics.hash() == STATISTICS.hash()
    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        assert file["mu"].tolist() == [0, 1, 2]


def with_protocol(text: str) -> dict[str, Any]:
    return {"mu": np.zeros(2), "sigma": np.eye(2), "protocol": np.array(text)}


def test_what_a_number_is_worth_travels_too(tmp_path: Path) -> None:
    image = torch.linspace(0, 1, 12).view(3, 2, 2)
    write_reference(tmp_path / "r.npz", Reference(STATISTICS, MADE, Halves(0.5, 20, 20), image))
    found = read_reference(tmp_path / "r.npz")
    assert (found.made, found.halves) == (MADE, Halves(0.5, 20, 20))
    assert found.mean_image is not None
    torch.testing.assert_close(found.mean_image, image)
    write_reference(tmp_path / "r.npz", Reference(STATISTICS, MADE))  # as older versions did
    found = read_reference(tmp_path / "r.npz")
    assert (found.halves, found.mean_image) == (None, None)


OURS = {"images": 40, **asdict(MADE)}
BAD: dict[str, dict[str, Any]] = {
    "expected sigma in the file": {"mu": np.zeros(3)},
    "expected mu and sigma in the file": {"other": np.zeros(3)},
    r"expected mu .* and sigma .*, got \(3,\) and \(4, 4\)": {
        "mu": np.zeros(3),
        "sigma": np.eye(4),
    },
    r"expected mu .*, got \(1, 3\) and": {"mu": np.zeros((1, 3)), "sigma": np.eye(3)},
    r"expected mu .*, got \(0,\) and": {"mu": np.zeros(0), "sigma": np.zeros((0, 0))},
    "sigma is not finite": {"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)},
    "mu is not finite": {"mu": np.array([0, np.inf]), "sigma": np.eye(2)},
    "sigma is not symmetric": {"mu": np.zeros(2), "sigma": np.array([[1.0, 2], [0, 1]])},
    "mu is not an array of floats": {"mu": np.zeros(2, int), "sigma": np.eye(2)},
    "sigma is not a covariance: its smallest eigenvalue is -1, and its largest is 3": {
        "mu": np.zeros(2),
        "sigma": np.array([[1.0, 2], [2, 1]]),
    },
    "its smallest eigenvalue is -2": {"mu": np.zeros(2), "sigma": -2 * np.eye(2)},
    "objects are not unpickled": {"mu": np.array([{}], object), "sigma": np.eye(1)},
    "not unpickled": {**with_protocol(""), "protocol": np.array({"images": 3}, object)},
    "its protocol is damaged": with_protocol("{"),
    "its protocol is damaged or of an": with_protocol("[1]"),
    "its protocol is damaged or of an unknown": with_protocol(json.dumps({**OURS, "new": 1})),
    "expected images >= 2, got '40'": with_protocol(json.dumps({**OURS, "images": "40"})),
    "expected images >= 2, got 1": with_protocol(json.dumps({"images": 1})),
    "its protocol: expected size >= 1, got 0": with_protocol(json.dumps({**OURS, "size": 0})),
    "its protocol: expected quantised of type bool, got 'no'": with_protocol(
        json.dumps({**OURS, "quantised": "no"})
    ),
    "halves: distance = -1 is not a number": with_protocol(
        json.dumps({"halves": {"distance": -1, "first": 2, "second": 2}})
    ),
    "its protocol is damaged or of an unknown version": with_protocol(
        json.dumps({"halves": {"a": 1}})
    ),
    r"mean_image: expected floats of shape \(3, H, W\), got float64 \(2, 2\)": {
        **with_protocol("{}"),
        "mean_image": np.zeros((2, 2)),
    },
    r"mean_image: expected finite values in \[0, 1\]": {
        **with_protocol("{}"),
        "mean_image": np.full((3, 2, 2), 2.0),
    },
    "its protocol: expected features of type str, got None": with_protocol(
        json.dumps({**OURS, "features": None})
    ),
}


@pytest.mark.parametrize("line", BAD)
def test_a_file_that_is_not_valid_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.npz"
    np.savez(path, **BAD[line])
    with pytest.raises(ValueError, match=f"{path}: .*{line}") as caught:
        read_reference(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_singular_covariance_is_one_in_spite_of_rounding(
    tmp_path: Path, dtype: type[np.floating[Any]]
) -> None:
    """Fewer images than features: eigenvalues of 0, some below it after rounding."""
    features = np.random.default_rng(0).normal(size=(20, 60)).astype(dtype)
    sigma = np.cov(features, rowvar=False, dtype=dtype)
    assert np.linalg.eigvalsh(sigma)[0] < 0
    for found in (sigma, np.zeros_like(sigma)):
        np.savez(tmp_path / "r.npz", mu=features.mean(0), sigma=found)
        read_reference(tmp_path / "r.npz")


def test_tensors_as_training_code_saves_them(tmp_path: Path) -> None:
    """In half precision, or still with a gradient."""
    mean, covariance = torch.zeros(3), torch.eye(3)
    for saved in (covariance.bfloat16(), covariance.clone().requires_grad_()):
        torch.save({"mu": mean, "cov": saved}, tmp_path / "r.pt")
        found = read_reference(tmp_path / "r.pt").statistics
        assert torch.equal(found.covariance, covariance.double())


def test_damage_is_one_line(tmp_path: Path) -> None:
    """Cut or with wrong bytes: statistics, or a reason in one line."""
    path, rng = tmp_path / "r.npz", np.random.default_rng(0)
    write_reference(path, Reference(STATISTICS, MADE))
    whole = path.read_bytes()
    for trial in range(200):
        content = np.frombuffer(whole, np.uint8).copy()
        if trial % 2:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(0, len(content), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(content.tobytes())
        try:
            read_reference(path)
            reason = f"{path}: "
        except ValueError as error:
            reason = str(error)
        assert reason.startswith(f"{path}: ")
        assert "\n" not in reason


def test_no_file_and_another_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_reference(tmp_path / "r.npz")
    np.save(tmp_path / "r.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a .npz file"):
        read_reference(tmp_path / "r.npy")
    (tmp_path / "r.npz").write_text("x")
    with pytest.raises(ValueError, match="not a .npz file"):
        read_reference(tmp_path / "r.npz")
