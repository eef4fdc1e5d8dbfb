"""Trained NATs on disk: safetensors with the sizes of the network, in folders named by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.generators.nat import NAT, NULL_CONTEXT, NATConfig
from models.generators.published import nat_from_state_dict
from models.saving import save_tensors
from models.tensor_file import read_tensors
from search.files import write_text
from search.names import is_sha256

WEIGHTS = "nat.safetensors"
SETTINGS = "settings.json"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return a short hash of JSON settings: equal settings have equal hashes."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_nat(folder: Path, nat: NAT, settings: Mapping[str, Any]) -> None:
    """Write the settings, for people to read, and then the weights, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
    metadata = {"config": json.dumps(nat.config.to_json())}
    save_tensors(folder / WEIGHTS, nat.tensors(), metadata)


def load_nat_folder(folder: Path) -> NAT:
    """Load the NAT saved in a folder, in evaluation mode, on the CPU.

    Raises:
        ValueError: there is no checkpoint of a NAT; the line names the file.
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
    """Put weights into the store of a lab, if they are not there already; return their hash."""
    checkpoint = nat.hash()
    folder = stored_folder(lab, checkpoint)
    if not (folder / WEIGHTS).exists():
        save_nat(folder, nat, settings)
    return checkpoint


def stored_folder(lab: Path, checkpoint: str) -> Path:
    """Return the folder for weights with that hash, which need not exist.

    Raises:
        ValueError: `checkpoint` is not a hash.
    """
    require_checkpoint(checkpoint)
    return lab / "weights" / checkpoint.removeprefix("sha256:")


def require_checkpoint(checkpoint: str) -> None:
    """Refuse a name of weights that is not a hash.

    Raises:
        ValueError: it is not.
    """
    if not is_sha256(checkpoint):
        raise ValueError(
            f"checkpoint: expected sha256: and 64 hexadecimal digits, got {checkpoint!r}"
        )


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that `save_nat` wrote beside the weights.

    Raises:
        ValueError: they do not exist or cannot be read.
    """
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{folder / SETTINGS}: cannot be read") from None
    return dict(found)
