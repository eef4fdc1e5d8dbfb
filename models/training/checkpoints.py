"""Trained NATs on disk: safetensors with the network's sizes, in a folder named by a hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from models.generators.nat import NAT, NATConfig
from models.generators.published import nat_from_state_dict
from models.hashes import tensors_hash
from models.tensor_file import read_tensors

WEIGHTS = "nat.safetensors"
SETTINGS = "settings.json"
NULL_CONTEXT = "null_context"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """A short name for JSON values: equal settings, equal name."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_hash(nat: NAT) -> str:
    """SHA-256 of the weights with their names and shapes; of a NAT that takes texts also of its
    null context, without which it generates other images."""
    return tensors_hash(_tensors(nat))


def save_nat(folder: Path, nat: NAT, settings: Mapping[str, Any]) -> None:
    """Write the settings, for people to read, then the weights, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
    partial = folder / f"{WEIGHTS}.{os.getpid()}.partial"
    state = {name: tensor.contiguous() for name, tensor in _tensors(nat).items()}
    save_file(state, partial, metadata={"config": json.dumps(nat.config.to_json())})
    os.replace(partial, folder / WEIGHTS)


def load_nat_folder(folder: Path) -> NAT:
    """The NAT saved in a folder, in evaluation mode, on the CPU.

    Raises:
        ValueError: no checkpoint there, or not one of a NAT; the file is named.
    """
    path = folder / WEIGHTS
    file = read_tensors(path)
    state = dict(file.tensors)
    try:
        sizes = json.loads(file.metadata["config"])
        null_context = state.pop(NULL_CONTEXT, None)
        nat = nat_from_state_dict(state, NATConfig.from_json(sizes))
        if null_context is not None:
            nat.set_null_context(null_context)
        return nat
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{path}: not a checkpoint of a NAT") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def store_nat(lab: Path, nat: NAT, settings: Mapping[str, Any]) -> str:
    """Put weights into a lab's store, once; their hash."""
    checkpoint = weights_hash(nat)
    folder = stored_folder(lab, checkpoint)
    if not (folder / WEIGHTS).exists():
        save_nat(folder, nat, settings)
    return checkpoint


def stored_folder(lab: Path, checkpoint: str) -> Path:
    """Where weights of that hash lie, if they do.

    Raises:
        ValueError: not a hash.
    """
    kind, _, digits = str(checkpoint).partition(":")
    if kind != "sha256" or not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValueError(f"checkpoint = {checkpoint!r} is not sha256: and 64 hexadecimal digits")
    return lab / "weights" / digits


def read_settings(folder: Path) -> dict[str, Any]:
    """What `save_nat` wrote beside the weights.

    Raises:
        ValueError: nothing that can be read.
    """
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{folder / SETTINGS}: cannot be read") from None
    return dict(found)


def _tensors(nat: NAT) -> dict[str, Tensor]:
    """What makes a NAT: its weights, and its null context where it has one."""
    state: dict[str, Tensor] = nat.state_dict()
    return state if nat.null_context is None else {**state, NULL_CONTEXT: nat.null_context}
