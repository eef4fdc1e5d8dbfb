from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.metrics.fid import estimate
from models.metrics.frechet import Statistics, Sums, frechet_distance

WIDTH = 4
REAL = Statistics(torch.zeros(WIDTH).double(), torch.eye(WIDTH).double(), 10_000)


def drawn(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.7 * torch.randn((n, WIDTH), generator=generator, dtype=torch.float64) + 0.2


def groups(x: Tensor, count: int = 20) -> list[Sums]:
    return [Sums(part.sum(0), part.T @ part, len(part)) for part in x.chunk(count)]


def test_groups_together_are_the_whole() -> None:
    x = drawn(400, 0)
    whole = Statistics(x.mean(0), x.T.cov(), 400)
    assert estimate(REAL, groups(x)).value == pytest.approx(float(frechet_distance(REAL, whole)))


def test_the_stated_error_is_the_spread_of_replicates() -> None:
    found = [estimate(REAL, groups(drawn(400, seed))) for seed in range(200)]
    fids = np.array([f.value for f in found])
    stated = np.array([f.standard_error or math.nan for f in found])
    assert stated.mean() == pytest.approx(fids.std(ddof=1), rel=0.15)
    inside = np.abs(fids - fids.mean()) < 2.09 * stated  # Student's t, 19 degrees of freedom
    assert 0.90 <= inside.mean() <= 0.98


def test_fid_at_smaller_n_is_that_of_fewer_images() -> None:
    found = [estimate(REAL, groups(drawn(400, seed))).value_at for seed in range(60)]
    assert [n for n, _ in found[0]] == [200, 100]
    for place, n in enumerate((200, 100)):
        fresh = [estimate(REAL, groups(drawn(n, 1000 + seed))).value for seed in range(240)]
        error = np.std(fresh) / math.sqrt(60)
        assert np.mean([f[place][1] for f in found]) == pytest.approx(np.mean(fresh), abs=3 * error)


def test_spread_is_the_variance_over_that_of_real_images() -> None:
    x = drawn(4000, 2)  # a standard deviation of 0.7 where the real ones have 1
    assert estimate(REAL, groups(x)).spread == pytest.approx(0.49, rel=0.05)
    alike = torch.zeros((40, WIDTH), dtype=torch.float64)
    assert estimate(REAL, groups(alike, 1)).spread == 0


def test_one_group_states_no_error_and_nothing_finite_is_said_of_nan() -> None:
    assert estimate(REAL, groups(drawn(50, 1), 1)).standard_error is None
    broken = drawn(50, 1)
    broken[0, 0] = math.nan
    assert not math.isfinite(estimate(REAL, groups(broken)).value)
