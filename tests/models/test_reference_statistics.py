"""Reference statistics in the public format, and in ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.frechet import Statistics
from models.reference_statistics import Made, Reference, read_reference, write_reference

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


BAD = {
    "lacks sigma": {"mu": np.zeros(3)},
    "lacks mu and sigma": {"other": np.zeros(3)},
    "are not a mean and a covariance": {"mu": np.zeros(3), "sigma": np.eye(4)},
    "sigma is not finite": {"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)},
    "sigma is not symmetric": {"mu": np.zeros(2), "sigma": np.array([[1.0, 2], [0, 1]])},
    "mu is not an array of floats": {"mu": np.zeros(2, int), "sigma": np.eye(2)},
    "not a .npz file of numbers": {"mu": np.array([{}], object), "sigma": np.eye(1)},
}


@pytest.mark.parametrize("line", BAD)
def test_a_file_that_is_not_valid_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.npz"
    np.savez(path, **BAD[line])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{path}: .*{line}|{path}: {line}"):
        read_reference(path)


def test_no_file_and_another_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_reference(tmp_path / "r.npz")
    np.save(tmp_path / "r.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a .npz file"):
        read_reference(tmp_path / "r.npy")
    (tmp_path / "r.npz").write_text("x")
    with pytest.raises(ValueError, match="not a .npz file"):
        read_reference(tmp_path / "r.npz")
