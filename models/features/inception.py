"""The Inception network of FID: the TensorFlow graph of 2015 in PyTorch, 2,048 features an image.

It reads pytorch-fid's `pt_inception-2015-12-05-6726825d.pth`. Like that graph, it differs from the
usual Inception v3 in three ways: average pools do not count their padding, the last block uses a
maximum pool, and images are resized to 299 pixels without antialiasing.
B: images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint_kinds import require_kind
from models.features.inception_inputs import pytorch_fid_inputs
from models.state_dicts import with_weights
from models.tensor_file import read_tensors

FEATURES = 2048
CLASSES = 1008
MEAN, COUNTER = ".running_mean", ".num_batches_tracked"
"""The ends of the names of buffers of batch norm."""
Kernel = int | tuple[int, int]


class Convolution(nn.Module):
    """Convolution, batch norm and ReLU; padded to keep the size if the stride is 1."""

    def __init__(
        self, channels: int, to: int, kernel: Kernel = 1, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, to, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(to, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H', W']."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """A block at 35 x 35, with branches 1 x 1, 5 x 5, 3 x 3 twice, and pool."""

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(channels, 64)
        self.branch5x5_1 = Convolution(channels, 48)
        self.branch5x5_2 = Convolution(48, 64, 5)
        self.branch3x3dbl_1 = Convolution(channels, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3)
        self.branch_pool = Convolution(channels, pool)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 35, 35] to [B, 224 + pool, 35, 35]."""
        triple = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        fives = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), fives, triple, self.branch_pool(_average_pool(x))], 1)


class BlockB(nn.Module):
    """A block from 35 x 35 to 17 x 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(channels, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 35, 35] to [B, 480 + C, 17, 17]."""
        triple = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), triple, F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """A block at 17 x 17: 1 x 1, 7 x 7 in two convolutions, 7 x 7 twice in four, and pool."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        wide, tall = (1, 7), (7, 1)
        self.branch1x1 = Convolution(channels, 192)
        self.branch7x7_1 = Convolution(channels, inner)
        self.branch7x7_2 = Convolution(inner, inner, wide)
        self.branch7x7_3 = Convolution(inner, 192, tall)
        self.branch7x7dbl_1 = Convolution(channels, inner)
        self.branch7x7dbl_2 = Convolution(inner, inner, tall)
        self.branch7x7dbl_3 = Convolution(inner, inner, wide)
        self.branch7x7dbl_4 = Convolution(inner, inner, tall)
        self.branch7x7dbl_5 = Convolution(inner, 192, wide)
        self.branch_pool = Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 17, 17] to [B, 768, 17, 17]."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average_pool(x))], 1)


class BlockD(nn.Module):
    """A block from 17 x 17 to 8 x 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(channels, 192)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(channels, 192)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 17, 17] to [B, 512 + C, 8, 8]."""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        threes = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([threes, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """A block at 8 x 8: 1 x 1, 3 x 3 in two convolutions, 3 x 3 twice, and a pool.

    The pool takes maxima in the last block of the network, else averages.
    """

    def __init__(self, channels: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Convolution(channels, 320)
        self.branch3x3_1 = Convolution(channels, 384)
        self.branch3x3_2a = Convolution(384, 384, (1, 3))
        self.branch3x3_2b = Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = Convolution(channels, 448)
        self.branch3x3dbl_2 = Convolution(448, 384, 3)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1))
        self.branch_pool = Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 8, 8] to [B, 2048, 8, 8]."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else _average_pool(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class Inception(nn.Module):
    """The whole network, from images [B, 3, H, W] in [0, 1] to features [B, 2048].

    Args:
        inputs: resizes images to the inputs of the network (see models.features.inception_inputs).
    """

    num_features = FEATURES

    def __init__(self, inputs: Callable[[Tensor], Tensor] = pytorch_fid_inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padded=False)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)  # in the file, not in the features

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] to [B, 2048]."""
        x = self.inputs(images)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))
        return self.Mixed_7c(self.Mixed_7b(x)).mean((2, 3))  # type: ignore[no-any-return]


def load_inception(
    path: str | Path, inputs: Callable[[Tensor], Tensor] = pytorch_fid_inputs
) -> Inception:
    """Load the network from pytorch-fid's or torch-fidelity's file, in evaluation mode, on the CPU.

    Args:
        path: the file (see models.tensor_file).
        inputs: see `Inception`.

    Raises:
        ValueError: the file does not exist or is not a checkpoint, or tensors are missing,
            unexpected, misshapen or unusable.
    """
    state = read_tensors(path).tensors
    # Files saved before torch 0.4.1 lack the counters, which evaluation does not need.
    means = [name for name in state if name.endswith(MEAN)]
    counters = {name.removesuffix(MEAN) + COUNTER: torch.tensor(0) for name in means}
    try:
        require_kind("inception", state)
        return with_weights(lambda: Inception(inputs), state | counters)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
