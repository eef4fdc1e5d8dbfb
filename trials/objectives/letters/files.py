"""The files of the letters that lie in this folder; benchmarks/train_letters.py makes them.

SIZE.safetensors holds a NAT in half precision, the codes of its tokens, and some real pictures.
features.safetensors and reference.npz measure pictures of all sizes.
K: codes, P: pixels of a patch, N: examples, L: tokens of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.features.features import PixelsAndClasses, WhitenedPixels
from models.generators.nat import NAT, NATConfig
from models.generators.published import nat_from_state_dict
from models.saving import save_tensors
from models.tensor_file import read_tensors

FOLDER = Path(__file__).parent
FORMAT = "autonat-letters/1"
SIZES = {"small": 16, "large": 32}
"""The sizes of the letters, each with the side of its pictures in pixels."""
MEASURED_SIDE = 16
"""Pictures of all sizes are scaled down to this side before they are measured."""
CODES, EXAMPLES, MEAN_IMAGE, NETWORK = "codes", "examples", "mean_image", "nat."


@dataclass(frozen=True)
class SizeFile:
    """The content of the file of one size.

    Attributes:
        config: the sizes of the NAT.
        weights: its state dict, in half precision.
        codes: [K, P] in [0, 1].
        examples: the tokens of real pictures, [N, L] int64, the same number of each class in turn.
        mean_image: the mean of the real pictures, [H, W] in [0, 1].
        training: the settings with which the NAT was trained, as JSON values.
    """

    config: NATConfig
    weights: Mapping[str, Tensor]
    codes: Tensor
    examples: Tensor
    mean_image: Tensor
    training: Mapping[str, Any]

    def nat(self) -> NAT:
        """The NAT, in evaluation mode, in float32."""
        return nat_from_state_dict(self.weights, self.config)

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        settings = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "training": dict(self.training),
        }
        tensors = {f"{NETWORK}{name}": tensor.half() for name, tensor in self.weights.items()}
        # Numbers up to 2048 are exact in half precision.
        tensors |= {
            CODES: self.codes.float(),
            EXAMPLES: self.examples.half(),
            MEAN_IMAGE: self.mean_image.half(),
        }
        save_tensors(path, tensors, {"settings": json.dumps(settings)})


def read_size(path: Path) -> SizeFile:
    """Read the file of one size, which its name says.

    Raises:
        ValueError: the file is missing, damaged or of another version or size.
    """
    settings, tensors = _read(path)
    network = {n.removeprefix(NETWORK): t for n, t in tensors.items() if n.startswith(NETWORK)}
    try:
        config = NATConfig.from_json(settings["config"])
        found = SizeFile(
            config,
            network,
            tensors[CODES],
            tensors[EXAMPLES].long(),
            tensors[MEAN_IMAGE].float(),
            settings["training"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of letters ({error})") from None
    side, shape = SIZES[path.stem], tuple(found.mean_image.shape)
    if shape != (side, side):
        raise ValueError(f"{path}: expected letters of {side} x {side} pixels, got {shape}")
    return found


def write_features(path: Path, features: PixelsAndClasses) -> None:
    """Write features as float32, atomically."""
    state = features.state_dict()
    tensors = {name: tensor.float() for name, tensor in state.items()}
    save_tensors(path, tensors, {"settings": json.dumps({"format": FORMAT})})


def read_features(path: Path) -> PixelsAndClasses:
    """Read features that `write_features` wrote.

    Raises:
        ValueError: the file is missing, damaged or of another version.
    """
    _, tensors = _read(path)
    try:
        pixels = WhitenedPixels(tensors["pixels.mean"], tensors["pixels.matrix"])
        rest = {name: tensors[name] for name in ("weight", "bias", "mean", "scale")}
    except KeyError as error:
        raise ValueError(f"{path}: not a file of features ({error} is missing)") from None
    return PixelsAndClasses(pixels, **rest, side=MEASURED_SIDE)


def _read(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    file = read_tensors(path)
    try:
        settings = json.loads(file.metadata["settings"])
        form = settings["format"]
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{path}: not a file of letters") from None
    if form != FORMAT:
        raise ValueError(f"{path}: format = {form!r} is unknown; known: {FORMAT!r}")
    return settings, file.tensors
