"""What is written is read again, and a full disk is an error of the operating system."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from models import saving
from models.saving import save_state, save_tensors
from models.tensor_file import load_torch, read_tensors

TENSORS = {"weight": torch.arange(6.0).view(2, 3).T, "bias": torch.ones(2)}


def test_tensors_are_read_again(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x.safetensors", TENSORS, {"settings": "{}"})
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.metadata == {"settings": "{}"}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
    save_state(tmp_path / "x.pt", {"step": 3, "nat": TENSORS})
    assert load_torch(tmp_path / "x.pt")["step"] == 3


def test_a_full_disk_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_safetensors(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    def of_torch(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0\nat")

    monkeypatch.setattr(saving, "save_file", of_safetensors)
    monkeypatch.setattr(torch, "save", of_torch)
    for name in ("x.safetensors", "x.pt"):
        (tmp_path / name).write_bytes(b"whole")
    with pytest.raises(OSError, match=r"x\.safetensors: .* No space left on device"):
        save_tensors(tmp_path / "x.safetensors", TENSORS, {})
    with pytest.raises(OSError, match=r"x\.pt: .* unexpected pos 64 vs 0$"):
        save_state(tmp_path / "x.pt", TENSORS)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}
