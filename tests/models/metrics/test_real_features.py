from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.metrics.metric import statistics_of
from models.metrics.real_features import Sample, features_file, read_features, write_features

FEATURES = torch.randn((40, 3), generator=torch.Generator().manual_seed(0))
STATISTICS = statistics_of(FEATURES)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_features(tmp_path / "r.npz", FEATURES, STATISTICS)
    assert torch.equal(read_features(tmp_path / "r.npz", STATISTICS), FEATURES)
    assert [path.name for path in tmp_path.iterdir()] == ["r.features.safetensors"]


def test_every_image_is_as_likely_to_be_kept() -> None:
    numbers = torch.arange(60.0)[:, None]
    sample = Sample(20)
    for batch in numbers.split(7):
        sample.add(batch)
        assert len(sample.features()) <= 20  # type: ignore[arg-type]
    kept = sample.features()
    assert kept is not None
    found = kept[:, 0].tolist()
    assert len(set(found)) == 20
    assert found == sorted(found)
    assert found[0] < 20 < 40 < found[-1]  # not the first ones, nor the last
    unasked = Sample(20)
    for batch in numbers.split(7):
        unasked.add(batch)
    assert torch.equal(unasked.features(), kept)  # type: ignore[arg-type]


def test_none_are_kept_unless_they_are_asked_for() -> None:
    sample = Sample(0)
    sample.add(FEATURES)
    assert sample.features() is None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    reference = tmp_path / "r.npz"
    with pytest.raises(ValueError, match="make both with autonat statistics --keep-features N"):
        read_features(reference, STATISTICS)
    write_features(reference, FEATURES, STATISTICS)
    with pytest.raises(ValueError, match="the features are not those of the images of .*r.npz"):
        read_features(reference, statistics_of(FEATURES + 1))
    with pytest.raises(ValueError, match=r"shape \(2 or more, 2\), got \(40, 3\)"):
        read_features(reference, statistics_of(FEATURES[:, :2]))
    save_file({"other": FEATURES}, features_file(reference))
    with pytest.raises(ValueError, match="not a file of features"):
        read_features(reference, STATISTICS)
