"""Checkpoints as Hugging Face hands them out: weights with a config beside them.

Such a checkpoint is a folder with config.json and model.safetensors, or a file of weights, such as
name.bin, with name.json or name.yaml beside it. The config of a single file may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.regular_files import not_a_file
from models.tensor_file import SHARDS, read_tensors
from search.reading import read_json, read_yaml

CONFIG = "config.json"
PIPELINE_INDEX = "model_index.json"
"""Marks a folder of diffusers with several models."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors")
"""The names of weights in a folder, in the order of preference; each may be cut into several files,
with an index of them beside it."""
CONFIG_ENDINGS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class HubCheckpoint:
    """The content of a checkpoint.

    Attributes:
        tensors: the tensors by name (see models.tensor_file).
        config: the config, as it was written; empty if there is none.
        config_path: the file that it was read from, or None.
    """

    tensors: dict[str, Tensor]
    config: Mapping[str, Any]
    config_path: Path | None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def setting(self, name: str, kind: type, default: Any) -> Any:
        """Return a value of the config.

        Args:
            name: its place, such as "model.generator.num_attention_heads".
            kind: its type.
            default: returned if the config does not have it, or has null.

        Raises:
            ValueError: the value is of another type; the line names file, place and value.
        """
        found = self.told(name)
        if found is None:
            return default
        if type(found) is not kind:
            raise ValueError(
                f"{self.config_path}: expected {name} of type {kind.__name__}, got {found!r}"
            )
        return found

    def told(self, name: str) -> Any:
        """Return the value of any type at a place of the config; None if there is none."""
        found: Any = self.config
        for part in name.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found


def read_checkpoint(path: str | Path, only: tuple[str, ...] = ("",)) -> HubCheckpoint:
    """Read a folder or a file of weights, with its config.

    Args:
        path: the folder or file.
        only: the beginnings of the names of tensors to read.

    Raises:
        ValueError: the path does not exist, a folder lacks its config or its weights or holds
            several models, or a file is damaged.
    """
    path = Path(path)
    config = config_of(path)
    content = {} if config is None else read_config(config)
    weights = weights_in(path) if path.is_dir() else path
    if weights is None:
        raise ValueError(f"{path}: it lacks its weights, {' or '.join(WEIGHTS[:2])}")
    return HubCheckpoint(read_tensors(weights, only).tensors, content, config)


def config_of(path: Path) -> Path | None:
    """The config in a folder of one model, or beside a file of weights; None if a file has none.

    Raises:
        ValueError: a folder lacks it, or holds several models.
    """
    if not path.is_dir():
        if path.name.endswith(SHARDS):
            beside = [path.with_name(CONFIG)]
        else:
            beside = [path.with_suffix(ending) for ending in CONFIG_ENDINGS]
        return next((file for file in beside if file != path and file.is_file()), None)
    if (path / CONFIG).is_file():
        return path / CONFIG
    if (path / PIPELINE_INDEX).is_file():
        made = read_config(path / PIPELINE_INDEX).get("_class_name")
        raise ValueError(f"{path}: expected a folder of one model, got one of {made} with several")
    if any(path.glob(f"*/{CONFIG}")):
        raise ValueError(f"{path}: it lacks {PIPELINE_INDEX}, which says what its models are")
    raise ValueError(
        f"{path}: expected a folder with a model's {CONFIG}, got one without it; a file of weights "
        f"is named by its own path, and several files by that of their {SHARDS[1:]}"
    )


def weights_in(folder: Path, names: Iterable[str] = WEIGHTS) -> Path | None:
    """The weights in a folder: a file, or the index of several; None if there are none.

    Args:
        folder: the folder.
        names: of files, in the order of preference.
    """
    places = (folder / f"{name}{ending}" for name in names for ending in ("", SHARDS))
    return next((place for place in places if place.is_file()), None)


def tensors_of(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a folder or a file of weights, whatever lies beside a file.

    Raises:
        ValueError: see `read_checkpoint`.
    """
    reader = read_checkpoint if Path(path).is_dir() else read_tensors
    return dict(reader(path).tensors)


def read_config(path: Path) -> dict[str, Any]:
    """Read a config, JSON or YAML.

    Raises:
        ValueError: the file does not exist, or does not hold an object.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    found = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object with settings, got {type(found).__name__}")
    return found
