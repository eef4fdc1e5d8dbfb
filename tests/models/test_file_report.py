"""A file is said to be what it is only where it is whole, in the words of its loader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.file_report import report_on
from models.generators.registry import load_generator
from models.tensor_file import read_tensors
from models.tokenizers.titok import load_titok_decoder
from models.tokenizers.tokenizer import load_tokenizer

TESTS = Path(__file__).parents[1]
REFERENCE = TESTS / "reference"
VQGAN, LLAMAGEN = TESTS / "models/files/vqgan.ckpt", REFERENCE / "halton/vq_ds2.pt"
TITOK = REFERENCE / "titok/titok_tokenizer.bin"
LOADERS: dict[Path, Callable[[Path], Any]] = {
    TESTS / "models/files/nat.pth": lambda path: load_generator(
        f"nat:{path}", tokenizer=f"vqgan:{VQGAN}", num_heads=4
    ),
    REFERENCE / "muse/muse_class.pth": lambda path: load_generator(
        f"muse:{path}", tokenizer=f"vqgan:{VQGAN}", num_heads=4
    ),
    REFERENCE / "halton/maskgit.pth": lambda path: load_generator(
        f"halton:{path}", tokenizer=f"llamagen:{LLAMAGEN}", num_heads=4
    ),
    REFERENCE / "titok/titok_vit.bin": lambda path: load_generator(
        f"titok:{path}", tokenizer=f"titok:{TITOK}", num_heads=4
    ),
    REFERENCE / "titok/titok_uvit.bin": lambda path: load_generator(
        f"titok:{path}", tokenizer=f"titok:{TITOK}", num_heads=4
    ),
    VQGAN: lambda path: load_tokenizer(f"vqgan:{path}"),
    LLAMAGEN: lambda path: load_tokenizer(f"llamagen:{path}"),
    TITOK: load_titok_decoder,
}


def lacking(state: dict[str, Tensor]) -> str:
    last = [name for name in state if name.endswith(".bias") and not name.startswith("encoder")][-1]
    del state[last]
    return last


def misshapen(state: dict[str, Tensor]) -> str:
    last = [name for name in state if name.endswith(".bias") and not name.startswith("encoder")][-1]
    state[last] = torch.zeros(7, 1)
    return last


def with_another(state: dict[str, Tensor]) -> str:
    state["decoder.extra"] = torch.zeros(1)
    return "decoder.extra"


@pytest.mark.parametrize("change", [lacking, misshapen, with_another])
@pytest.mark.parametrize("file", LOADERS, ids=lambda path: path.stem)
def test_a_file_that_is_not_whole_is_refused_as_its_loader_refuses_it(
    tmp_path: Path, file: Path, change: Callable[[dict[str, Tensor]], str]
) -> None:
    LOADERS[file](file)
    report_on(file)
    state = dict(read_tensors(file).tensors)
    name, path = change(state), tmp_path / f"changed{file.suffix}"
    torch.save(state, path)
    for read in (LOADERS[file], report_on):
        with pytest.raises(ValueError, match=f"{path}: .*{name.removeprefix('pixel_')}"):
            read(path)


def test_tokens_that_are_no_square_are_refused(tmp_path: Path) -> None:
    state = dict(read_tensors(REFERENCE / "halton/maskgit.pth").tensors)
    state["pos_emb.weight"] = state["pos_emb.weight"][:50].clone()
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="expected a square of tokens, got 50 tokens"):
        report_on(tmp_path / "x.pth")


def cut(tensors: dict[str, Tensor], folder: Path, stem: str) -> Path:
    """Write tensors as two files and their index, as the libraries of Hugging Face do."""
    folder.mkdir(exist_ok=True)
    names = list(tensors)
    places = {}
    for part, of in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-0000{part}-of-00002.safetensors"
        save_file({name: tensors[name].clone().contiguous() for name in of}, folder / file)
        places |= dict.fromkeys(of, file)
    index = folder / f"{stem}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    file = REFERENCE / "halton/maskgit.pth"
    whole = read_tensors(file).tensors
    index = cut(dict(whole), tmp_path / "halton", "model")
    assert read_tensors(index).tensors.keys() == whole.keys()
    assert report_on(index).sizes == report_on(file).sizes
    found, expected = LOADERS[file](index), LOADERS[file](file)
    assert found.hash() == expected.hash()
    with pytest.raises(ValueError, match="and several files by that of their index.json$"):
        report_on(index.parent)
    (index.parent / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match="model-00002-of-00002.safetensors: No such file"):
        report_on(index)
    for text in ("[]", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}'):
        index.write_text(text)
        with pytest.raises(ValueError, match="index.json: expected weight_map"):
            read_tensors(index)


def test_a_folder_with_weights_in_several_files_is_read(tmp_path: Path) -> None:
    file = REFERENCE / "titok/titok_vit.bin"
    index = cut(dict(read_tensors(file).tensors), tmp_path / "titok", "model")
    shutil.copy(file.with_suffix(".json"), tmp_path / "titok/config.json")
    for named in (tmp_path / "titok", index):
        assert report_on(named).sizes == report_on(file).sizes
        assert report_on(named).needs == ()  # its config has the heads
        assert LOADERS[file](named).hash() == LOADERS[file](file).hash()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("generator.num_hidden_layers", 24), ("vq_model.codebook_size", 4096)],
)
def test_a_config_of_another_model_is_refused(tmp_path: Path, setting: str, value: int) -> None:
    """Its heads would be taken, which no shape shows."""
    for name in ("vit", "uvit"):
        file = tmp_path / f"{name}.bin"
        shutil.copy(REFERENCE / f"titok/titok_{name}.bin", file)
        told = json.loads((REFERENCE / f"titok/titok_{name}.json").read_text())
        part, _, key = setting.partition(".")
        told["model"][part][key] = value
        file.with_suffix(".json").write_text(json.dumps(told))
        line = f"{name}.json is of another model: model.{setting} is {value}, but the weights have"
        for read in (LOADERS[REFERENCE / "titok/titok_vit.bin"], report_on):
            with pytest.raises(ValueError, match=line):
                read(file)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda f: (f / "tokenizer/tokenizer.json").unlink(), "it lacks tokenizer/tokenizer.json$"),
        (
            lambda f: (f / "scheduler/scheduler_config.json").write_text('{"mask_token_id": 12}'),
            r"expected mask_token_id in \[64, ",
        ),
        (lambda f: (f / "model_index.json").unlink(), "it lacks model_index.json"),
        (
            lambda f: [
                file.rename(file.with_suffix(".fp16.safetensors"))
                for file in f.glob("*/*.safetensors")
            ],
            "it lacks transformer/diffusion_pytorch_model.safetensors, vqvae/diffusion_pytorch_"
            "model.safetensors, text_encoder/model.safetensors; the variant fp16 is not read$",
        ),
    ],
)
def test_a_folder_of_amused_that_is_not_whole_is_said_so(
    tmp_path: Path, change: Callable[[Path], Any], line: str
) -> None:
    folder = tmp_path / "amused"
    shutil.copytree(REFERENCE / "amused/amused_256_small", folder)
    change(folder)
    with pytest.raises(ValueError, match=line):
        report_on(folder)


def test_a_folder_of_amused_with_weights_in_several_files_is_read(tmp_path: Path) -> None:
    folder, usual = tmp_path / "amused", REFERENCE / "amused/amused_256_small"
    shutil.copytree(usual, folder)
    file = folder / "transformer/diffusion_pytorch_model.safetensors"
    cut(dict(read_tensors(file).tensors), file.parent, file.stem)
    file.unlink()
    assert report_on(folder) == report_on(usual)
    prompts = REFERENCE / "amused/prompts.txt"
    found, expected = (load_generator(f"amused:{f}", prompts=prompts) for f in (folder, usual))
    assert found.hash() == expected.hash()
