"""Files of tensors as people have them: what training code saved, and what is no such file."""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.features.image_features import load_features
from models.features.inception import load_inception
from models.generators.nat import NAT, NATConfig
from models.generators.published import load_nat
from models.tensor_file import read_tensors
from models.tokenizers.patches import PatchTokenizer
from models.tokenizers.vqgan import load_vqgan
from models.training.checkpoints import WEIGHTS, load_nat_folder, save_nat

RAW = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}
EMA = {name: tensor / 2 for name, tensor in RAW.items()}
ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "param_groups": []}


def told(path: Path, content: Any) -> str:
    """The one line with which a file is refused, by its name."""
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"\Ax.pth: ") as caught:
        read_tensors(path.name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "ours", "said"),
    [
        (RAW, RAW, ""),
        ({"state_dict": RAW, "epoch": 3}, RAW, ""),
        ({"model_state_dict": RAW, "optimizer_state_dict": ADAM, "iter": 1}, RAW, ""),
        ({"model": RAW, "args": argparse.Namespace(lr=1.0), "fid": np.float64(3.0)}, RAW, ""),
        ({"model": {"state_dict": RAW}, "step": 1}, RAW, ""),
        ({"generator": RAW, "step": 1}, RAW, ""),
        ({"model": RAW, "ema": EMA}, EMA, "uses the weights under 'ema', not those under 'model'"),
        (
            {"model": RAW, "model_ema": EMA},
            EMA,
            "uses the weights under 'model_ema', not those under 'model'",
        ),
        (
            {"state_dict": RAW, "state_dict_ema": EMA, "optimizer": ADAM},
            EMA,
            "uses the weights under 'state_dict_ema', not those under 'state_dict'",
        ),
        (
            {"ema": {"state_dict": EMA, "decay": 0.99}, "model": RAW},
            EMA,
            "uses the weights under 'ema'",
        ),
        ({"nat": RAW, "average": EMA, "optimiser": ADAM}, EMA, "uses the weights under 'average'"),
        (
            {"vae": EMA, "module": RAW},
            RAW,
            "uses the weights under 'module', not those under 'vae'",
        ),
        # EMA kept by parameter and without names is none that can be taken.
        (
            {"ema": {"shadow_params": [torch.ones(2)]}, "model": RAW},
            RAW,
            "uses the weights under 'model'; the averaged ones under 'ema' have no names",
        ),
        ({"ema": {"decay": 0.99}, "model": RAW}, RAW, ""),
        ({"model": RAW, "rng_state": torch.get_rng_state(), "step": torch.tensor(3)}, RAW, ""),
        ({"ema": {"shadow": EMA}, "model": RAW}, EMA, "uses the weights under 'ema', not those"),
    ],
)
def test_the_weights_of_a_training_checkpoint(
    content: Any,
    ours: dict[str, Tensor],
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.save(content, tmp_path / "x.pth")
    with caplog.at_level(logging.WARNING):
        found = read_tensors(tmp_path / "x.pth").tensors
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[name], ours[name]) for name in ours)
    assert [said in line for line in caplog.messages] == ([True] if said else [])
    assert all(line.startswith(f"{tmp_path / 'x.pth'}: ") for line in caplog.messages)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_prefixes_and_buffers_of_no_use_are_dropped(
    prefix: str, suffix: str, tmp_path: Path
) -> None:
    content = {f"{prefix}{name}": tensor for name, tensor in RAW.items()}
    content |= {f"{prefix}emb.position_ids": torch.arange(4)[None]}
    content |= {"n_averaged": torch.tensor(7)}
    path = tmp_path / f"x.{suffix}"
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    assert read_tensors(path).tensors.keys() == RAW.keys()


def test_what_public_wrappers_save_is_read(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), torch.compile(nn.Linear(3, 2)))
    averaged = torch.optim.swa_utils.AveragedModel(network)
    torch.save({"model": network.state_dict(), "ema": averaged.state_dict()}, tmp_path / "x.pth")
    found = read_tensors(tmp_path / "x.pth").tensors
    assert [*found] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_module_of_that_name_keeps_it(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "x.pth")
    assert [*read_tensors(tmp_path / "x.pth").tensors] == ["module.a", "b"]


def test_files_without_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content, line in (
        (ADAM, "it holds an optimiser's state, not weights"),
        ({"optimizer": ADAM, "epoch": 1}, "or one of these with ema, got optimizer, epoch"),
        ({"generator": RAW, "discriminator": RAW}, "got generator, discriminator"),
        ([torch.ones(2)], "not a state dict"),
        ({}, "not a state dict"),
        ({"position_ids": torch.arange(3)}, "not a state dict"),
        ({"a": torch.ones(1), "epoch": 3}, "not a state dict ('epoch' is not a tensor)"),
        ({"a": torch.ones(1), "extra": RAW}, "not a state dict ('extra' is not a tensor)"),
        ({"a.w": torch.ones(1), "a._orig_mod.w": torch.ones(1)}, "are the same tensor"),
        (nn.Linear(2, 2), "it holds other objects, which are not read for safety, or is damaged"),
    ):
        assert line in told(tmp_path / "x.pth", content)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_plain_pickle_is_one_line_without_warnings(
    protocol: int, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(pickle.dumps({"a.w": Path("x")}, protocol))
    with pytest.raises(ValueError, match="it holds other objects, which are not read for safety"):
        read_tensors(path)
    assert not list(recwarn)


UNUSABLE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "NaN": (lambda t: t.index_fill(0, torch.tensor(0), torch.nan), "holds NaN"),
    "infinity": (lambda t: t.index_fill(0, torch.tensor(0), torch.inf), "holds an infinity"),
    "half NaN": (lambda t: (t * torch.nan).half(), "holds NaN"),
    "int8": (
        lambda t: t.to(torch.int8),
        "expected floating-point numbers, got int8; quantised models are",
    ),
    "bool": (lambda t: t > 0, "expected floating-point numbers, got bool"),
    "complex": (lambda t: t.to(torch.complex64), "expected floating-point numbers, got complex64"),
    "float8": (
        lambda t: t.to(torch.float8_e4m3fn),
        "expected floating-point numbers, got float8_e4m3fn",
    ),
    "meta": (lambda t: t.to("meta"), "is a meta tensor: the file holds its shape but no numbers"),
    "sparse": (lambda t: t.to_sparse(), "expected a dense tensor, got a tensor of kind sparse_coo"),
    "quantised": (
        lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
        "expected floating-point numbers, got qint8",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_tensors_are_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, line = UNUSABLE[kind]
    content = {"model": {**RAW, "b.weight": spoil(torch.ones(4))}}
    said = told(tmp_path / "x.pth", content)
    assert "x.pth: b.weight" in said
    assert line in said


LOADERS: dict[str, Callable[[Path], Any]] = {
    "nat": load_nat,
    "vqgan": load_vqgan,
    "inception": load_inception,
    "patches": PatchTokenizer.load,
    "pixels": lambda path: load_features(f"pixels:{path}"),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of Git"),
        (b"PK\x03\x04" + bytes(900), "cut off: its end is missing"),
        (b'{\n "model": {}}', "it is JSON, such as a config"),
        (b"\x93NUMPY\x01\x00v\x00", "it is an array of NumPy"),
        (b"hello, world", "damaged or cut off"),
        ((1 << 20).to_bytes(8, "little") + b'{"a": {"dtype"', "damaged or cut off"),
    ],
)
def test_what_is_no_file_of_tensors(loader: str, content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: not a checkpoint of tensors .*{line}") as caught:
        LOADERS[loader](path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_no_regular_file_is_not_waited_for(loader: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name, line in (
        ("pipe", r"a named pipe \(FIFO\)"),
        ("socket", "a socket"),
        ("link", "a broken link"),
        ("self", "a broken link"),
        (".", "Is a directory"),
        ("nothing", "No such file or directory"),
        ("\0", "not a name that a file can have"),
    ):
        with pytest.raises(ValueError, match=line):
            LOADERS[loader](tmp_path / name)
    with pytest.raises(ValueError, match="/dev/zero: a device"):
        LOADERS[loader](Path("/dev/zero"))


def test_stored_weights_are_refused_by_file_and_tensor(tmp_path: Path) -> None:
    nat = NAT(NATConfig(5, 9, 2, width=16, depth=2, num_heads=2)).eval()
    with torch.no_grad():
        nat.norm.bias[0] = torch.nan
    save_nat(tmp_path, nat, {})
    with pytest.raises(ValueError, match=f"{tmp_path / WEIGHTS}: norm.bias holds NaN"):
        load_nat_folder(tmp_path)


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    torch.save(RAW, path)
    assert read_tensors(path).tensors.keys() == RAW.keys()
    save_file(RAW, tmp_path / "x")
    (tmp_path / "x").replace(path)
    with pytest.raises(ValueError, match="safetensors opens only paths that are UTF-8"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damage_is_one_line(suffix: str, tmp_path: Path) -> None:
    """Cut or with wrong bytes: tensors, or a reason in one line."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"x.{suffix}"
    save_file(RAW, path) if suffix == "safetensors" else torch.save({"model": RAW}, path)
    whole = path.read_bytes()
    for trial in range(100):
        content = np.frombuffer(whole, np.uint8).copy()
        if trial % 2:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(0, len(content), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(content.tobytes())
        try:
            read_tensors(path)
            reason = f"{path}: "
        except ValueError as error:
            reason = str(error)
        assert reason.startswith(f"{path}: ")
        assert "\n" not in reason


def test_an_npz_is_called_what_it_is(tmp_path: Path) -> None:
    """`autonat statistics` writes one beside the features that it fitted."""
    np.savez(tmp_path / "real.npz", mu=np.zeros(3))
    with pytest.raises(ValueError, match=r"real.npz: .* \(it is an .npz of NumPy arrays\)"):
        load_features(f"pixels:{tmp_path / 'real.npz'}")
