"""Made-up results that look like a real comparison's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from search.controls import CONTROLS
from search.strategy import GenerationStrategy
from trials.results.results import MethodResult


def evaluations(rng: np.random.Generator, count: int, reach: float) -> pd.DataFrame:
    """A search that approaches `reach`; one evaluation in twenty fails."""
    numbers = np.arange(count)
    failed = rng.random(count) < 0.05
    fid = reach + 4 * np.exp(-3 * numbers / count) * rng.gamma(3, 0.4, count)
    return pd.DataFrame(
        {
            "number": numbers,
            "probe": numbers,
            "step": numbers // 8,
            "role": "candidate",
            "fid": np.where(failed, np.nan, fid),
            "images": 500,
            "forward_passes": 14,
            "seconds": 0.6,
            "seed": 2**31 + numbers,
            "state": np.where(failed, "FAIL", "COMPLETE"),
        }
    )


def bent(rng: np.random.Generator, steps: int) -> GenerationStrategy:
    """The rule of thumb, moved at random."""
    rule = GenerationStrategy.maskgit(steps)
    return GenerationStrategy(
        tuple(np.clip(np.array(rule.mask_ratio) + rng.normal(0, 0.08, steps - 1), 0, 0.99)),
        tuple(np.array(rule.remask_temperature) * rng.uniform(1, 6)),
        tuple(rng.uniform(0.7, 1.2, steps)),
        tuple(np.array(rule.guidance_scale) * rng.uniform(0, 0.8)),
    )


def compared(searches: dict[str, float], steps: int = 8, images: int = 12) -> list[MethodResult]:
    """Results of searches (by name, the FID they reach) and of the controls."""
    rng = np.random.default_rng(0)

    def tested(method: str, strategy: GenerationStrategy, fid: float) -> MethodResult:
        fids = tuple(fid + rng.normal(0, 0.08, 5))
        return MethodResult(
            method=method,
            strategy=strategy,
            value=float(np.mean(fids)),
            standard_error=float(np.std(fids, ddof=1) / np.sqrt(5)),
            values=fids,
            test_images=2000,
            test_seeds=(1, 2, 3, 4, 5),
            flops=None,
            forward_passes=strategy.forward_passes(),
            images=0,
            seconds=0.0,
            search_value=None,
            evaluations=pd.DataFrame(),
            samples=rng.integers(0, 256, (images, 8, 8), dtype=np.uint8),
        )

    results = []
    for name, fid in searches.items():
        table = evaluations(rng, 96, fid)
        results.append(
            dataclasses.replace(
                tested(name, bent(rng, steps), fid + 0.4),
                images=int(table["images"].sum()),
                seconds=float(table["seconds"].sum()),
                search_value=float(table["fid"].min()),
                evaluations=table,
            )
        )
    fids = (6.1, 18.2, 7.3, 4.95, 9.2, 5.8)
    for (name, control), fid in zip(CONTROLS.items(), fids, strict=True):
        results.append(tested(name, control(steps), fid))
    return results


@pytest.fixture
def results() -> Callable[..., list[MethodResult]]:
    """`compared`, for tests."""
    return compared
