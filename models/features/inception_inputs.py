"""From images to the inputs of Inception: the resizing and rounding of three protocols of FID.

FIDs of different protocols are different numbers. Each function maps images [B, 3, H, W] in [0, 1]
to inputs [B, 3, 299, 299], about in [-1, 1].
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 299
SUPPORT = 2.0
SHARPNESS = -0.5


def pytorch_fid_inputs(images: Tensor) -> Tensor:
    """Resize as pytorch-fid does: bilinear between pixel centres, without antialiasing."""
    x = F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", align_corners=False)
    return 2 * x - 1


def clean_fid_inputs(images: Tensor) -> Tensor:
    """Resize as Halton-MaskGIT does: bicubic as clean-fid uses PIL, then cut to 8 bits.

    PIL resizes rows first, in double precision, and keeps float32 in between.
    """
    pixels = images.float() * 255
    h, w = pixels.shape[2:]
    rows = _pil_bicubic(w, pixels.device)
    columns = _pil_bicubic(h, pixels.device)
    x = (pixels.double() @ rows.T).float()
    x = (columns @ x.double()).float()
    return _graph_inputs(x.clamp(0, 255).floor())


def tensorflow_inputs(images: Tensor) -> Tensor:
    """Cut to 8 bits and resize as TensorFlow 1 does in ADM's evaluator: bilinear between corners.

    A resized pixel i is at i * H / 299 of the image, not at the centre of its area.
    """
    pixels = (images.float() * 255).clamp(0, 255).floor()
    h, w = pixels.shape[2:]
    rows, columns = (_tensorflow_bilinear(side, pixels.device).double() for side in (h, w))
    # In float64, which no lower precision of features or products touches.
    return _graph_inputs((rows @ pixels.double() @ columns.T).float())


def _graph_inputs(pixels: Tensor) -> Tensor:
    """Scale pixels in [0, 255] as the graph of 2015 does."""
    return (pixels - 128) / 128


@lru_cache(maxsize=16)
def _pil_bicubic(side: int, device: torch.device) -> Tensor:
    """Return the weights [299, side], float64, with which PIL resizes a line of pixels."""
    scale = side / SIDE
    stretch = max(scale, 1.0)
    weights = torch.zeros(SIDE, side, dtype=torch.float64)
    for i in range(SIDE):
        centre = (i + 0.5) * scale
        first = max(0, int(centre - SUPPORT * stretch + 0.5))
        last = min(side, int(centre + SUPPORT * stretch + 0.5))
        places = torch.arange(first, last, dtype=torch.float64)
        found = _bicubic((places - centre + 0.5) / stretch)
        weights[i, first:last] = found / found.sum()
    return weights.to(device)


def _bicubic(x: Tensor) -> Tensor:
    """Return Keys' cubic kernel with a = -0.5."""
    x, a = x.abs(), SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


@lru_cache(maxsize=16)
def _tensorflow_bilinear(side: int, device: torch.device) -> Tensor:
    """Return the weights [299, side], float32, with which TensorFlow 1 resizes a line of pixels."""
    weights = torch.zeros(SIDE, side)
    places = torch.arange(SIDE).float() * torch.tensor(side / SIDE)  # in float32, as there
    for i, place in enumerate(places.tolist()):
        low = math.floor(place)
        weights[i, low] += 1 - (place - low)
        weights[i, min(low + 1, side - 1)] += place - low
    return weights.to(device)
