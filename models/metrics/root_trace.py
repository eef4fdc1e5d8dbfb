"""The trace of (C1 C2)^(1/2) for infinitely many images, from the covariance C2 of few.

The eigenvalues of a covariance of few images spread more than those of infinitely many, so that the
sum of their roots is too small, by a tenth where there are 1.4 images for each feature. How they
spread is known (Marchenko and Pastur 1967), and so is how to undo it: Tiomoko and Couillet (2019,
"Random matrix-improved estimation of the Wasserstein distance between two centered Gaussian
distributions") give the sum as an integral around all eigenvalues. Here only C2 is estimated, and
the integral is taken along the negative axis, where nothing is complex:

    M^(1/2) = 1/pi x integral of M (M + s)^(-1) s^(-1/2) ds over s > 0,

and the trace of M (M + s)^(-1) is close to that of S (S + u)^(-1), where S is the estimate of M
from n images and s = u / (1 - tr(S (S + u)^(-1)) / n). F: features per image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEP, REACH = 0.5, 60.0
"""Of the sum over log u that replaces the integral, and how far it goes beyond the eigenvalues.
The error is below 1e-12 of the result: the integrand is analytic where |Im log u| < pi, and falls
like exp(-|log u| / 2)."""
ZERO = 1e-10
"""Eigenvalues below this share of the largest count as 0."""


def root_trace(eigenvalues: Tensor, images: int) -> float:
    """Estimate the trace of M^(1/2) from the eigenvalues of an estimate of M.

    It is consistent where n and F grow together and n > F. With fewer images s does not reach 0,
    and the estimate is too small.

    Args:
        eigenvalues: of C1^(1/2) C2 C1^(1/2), where C2 is the covariance of n images, [F] float64;
            those below ZERO of the largest do not count.
        images: n, at least 2.
    """
    freedom = images - 1
    values = eigenvalues[eigenvalues > eigenvalues.max() * ZERO].sort().values[-freedom:]
    if len(values) == 0:
        return 0.0
    low, high = math.log(float(values[0])) - REACH, math.log(float(values[-1])) + REACH
    u = torch.arange(low, high, STEP, dtype=torch.float64, device=values.device).exp()
    kept = values / (values + u[:, None])
    lost = u[:, None] / (values + u[:, None])
    # 1 - tr(...) / n, without a difference of nearly equal numbers where u is small.
    rest = (freedom - len(values) + lost.sum(1)) / freedom
    terms = (u / rest).sqrt() * (kept * lost).sum(1)
    return float(terms.sum()) * STEP * 2 / math.pi
