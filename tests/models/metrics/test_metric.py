from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.metrics.fid import FID
from models.metrics.metric import METRICS, RealImages, jackknife, load_metric, statistics_of

FEATURES = torch.arange(12.0).view(6, 2)


def test_ours_by_name() -> None:
    assert [load_metric(name).name for name in METRICS.names()] == [
        "fid",
        "fid-infinity",
        "fid-leading",
        "kid",
        "mmd",
    ]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (object, "metric mine: object lacks name, may_be_negative, needs_real_features"),
        (
            type("Loud", (FID,), {"name": "FID"}),
            "expected a name of lower-case letters, .*, got 'FID'",
        ),
    ],
)
def test_what_is_no_metric_is_refused(
    made: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS._registered, "mine", made)
    with pytest.raises(ValueError, match=said):
        load_metric("mine")
    known = "fid, fid-infinity, fid-leading, kid, mmd, mine"
    with pytest.raises(ValueError, match=f"metric = 'lpips' is unknown; known: {known}"):
        load_metric("lpips")


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).normal(size=20).tolist()
    found = jackknife(lambda kept: math.fsum(kept) / len(kept), x)
    assert found == pytest.approx(np.std(x, ddof=1) / math.sqrt(20))
    assert jackknife(math.fsum, x[:1]) is None


def test_what_is_derived_from_real_features_is_made_once() -> None:
    asked = []
    real = RealImages(statistics_of(FEATURES), FEATURES)
    for _ in range(2):
        assert real.once("sum", lambda x: asked.append(1) or float(x.sum())) == 66
    assert asked == [1]
    assert real.hash(with_features=True) != real.hash()
    without = RealImages(real.statistics)
    assert without.hash(with_features=True) == without.hash() == real.hash()
    with pytest.raises(ValueError, match="features are not known, only their statistics"):
        without.once("sum", torch.sum)
