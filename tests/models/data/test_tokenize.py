from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from models.data import tokenize as module
from models.data.image_decoding import load_image
from models.data.image_sources import open_source
from models.data.token_data import SETTINGS, TOKENS, TokenData
from models.data.tokenize import FITTED, RUN, SHARDS, SKIPPED, Tokenizing, tokenize, tokenizer_of
from models.threads import one_thread
from tests.options import laid_over
from trials.cli import data as cli_data
from trials.progress import LiveProgress

Autonat = Callable[..., tuple[int, str, str]]

SIZE = 16
USABLE = 60
FAULTS = {
    "china/cut.jpg": "truncated",
    "china/text.jpg": "not an image",
    "flower/empty.png": "empty file",
    "flower/small.png": f"short side 15 is below size = {SIZE}",
    "stray.png": "not in a folder of a class",
}


def quiet(_: str) -> Callable[[int, int, str], None]:
    return lambda *_: None


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pieces of two real photos in two class folders, and files that cannot be used."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    photos = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    for index in range(USABLE):
        name = ("china", "flower")[index % 2]
        y, x = rng.integers(0, 300, 2)
        height, width = rng.integers(SIZE, 3 * SIZE, 2)
        piece = Image.fromarray(photos[name][y : y + height, x : x + width])
        (folder / name).mkdir(exist_ok=True)
        piece.save(folder / name / f"{index:03d}.{('png', 'jpg', 'webp')[index % 3]}")
    whole = Image.fromarray(photos["china"])
    whole.save(folder / "china" / "cut.jpg")
    cut = (folder / "china" / "cut.jpg").read_bytes()[:20_000]
    (folder / "china" / "cut.jpg").write_bytes(cut)
    (folder / "china" / "text.jpg").write_text("no picture")
    (folder / "flower" / "empty.png").touch()
    whole.resize((40, SIZE - 1)).save(folder / "flower" / "small.png")
    whole.save(folder / "stray.png")
    return folder


def run_of(pictures: Path, folder: Path, **changed: Any) -> Tokenizing:
    plain = Tokenizing(
        open_source(pictures), "patches", SIZE, folder, 4, 32, batch=3, workers=0, shard_images=8
    )
    return replace(plain, **changed)


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TokenData:
    """Token data of a run that nothing interrupted."""
    return tokenize(run_of(pictures, tmp_path_factory.mktemp("made")), quiet)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_image_and_its_mirror_image(pictures: Path, made: TokenData) -> None:
    assert (made.images, made.settings.skipped) == (USABLE, len(FAULTS))
    assert made.settings.class_names == ("china", "flower")
    assert (made.settings.grid, made.settings.codebook_size) == ((4, 4), 32)
    tokenizer = tokenizer_of(made)
    usable = [i for i in open_source(pictures).items if i.name not in FAULTS]
    assert len(usable) == USABLE
    for index, item in enumerate(usable):
        image = torch.from_numpy(load_image(item, SIZE).copy()).permute(2, 0, 1) / 255
        tokens = tokenizer.encode(torch.stack([image, image.flip(2)])).flatten(1)
        rows = slice(2 * index, 2 * index + 2)
        np.testing.assert_array_equal(made.tokens[rows], tokens)
        assert list(made.classes[rows]) == [item.label, item.label]
    made.check()


def test_what_was_skipped_is_named_with_its_reason(made: TokenData) -> None:
    lines = (made.folder / SKIPPED).read_text().splitlines()
    found = dict(line.split("\t") for line in lines)
    assert found.keys() == FAULTS.keys()
    for name, reason in FAULTS.items():
        assert reason in found[name]


def test_the_folder_keeps_no_shards(made: TokenData) -> None:
    assert set(files(made.folder)) == {TOKENS, SETTINGS, SKIPPED, RUN, FITTED}


@pytest.mark.parametrize(("batch", "workers"), [(100, 0), (5, 1), (3, 2)])
def test_batches_and_workers_change_nothing(
    pictures: Path, made: TokenData, tmp_path: Path, batch: int, workers: int
) -> None:
    shutil.copy(made.folder / FITTED, tmp_path)  # k-means sees the batches
    data = tokenize(run_of(pictures, tmp_path, batch=batch, workers=workers), quiet)
    assert files(data.folder) == files(made.folder)


class Killed(BaseException):
    """In place of kill -9: nothing handles it."""


@pytest.mark.parametrize("at", [*range(6), 10, 11, 12, 13])
@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_ends_at_any_file_goes_on(
    pictures: Path,
    made: TokenData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    before: bool,
) -> None:
    """A file is there or it is not: ended before each in turn, and after it."""
    replace_file, done = os.replace, 0

    def counting(source: Any, target: Any) -> None:
        nonlocal done
        done += 1
        if done <= at or not before:
            replace_file(source, target)
        if done > at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counting)
        with pytest.raises(Killed):
            tokenize(run_of(pictures, tmp_path), quiet)
    data = tokenize(run_of(pictures, tmp_path), quiet)
    assert files(data.folder) == files(made.folder)


CHILD = """
import sys, time
from pathlib import Path
from models.data.image_sources import open_source
from models.data.tokenize import Tokenizing, tokenize

source = open_source(Path(sys.argv[1]))
run = Tokenizing(source, "patches", 16, Path(sys.argv[2]), 4, 32, 3, 2, shard_images=8)
tokenize(run, lambda name: lambda *_: time.sleep(0.05 if name == "tokenizing" else 0))
"""


def test_kill_9_loses_and_doubles_nothing(pictures: Path, made: TokenData, tmp_path: Path) -> None:
    """Killed a random while after its next shard, twice, then let through."""
    rng = np.random.default_rng()
    shutil.copy(made.folder / FITTED, tmp_path)  # another number of threads, another fit
    words = [sys.executable, "-c", CHILD, str(pictures), str(tmp_path)]
    root = str(Path(module.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        child = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
        before = len(list(tmp_path.glob(f"{SHARDS}/*.npz")))
        while child.poll() is None and len(list(tmp_path.glob(f"{SHARDS}/*.npz"))) == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=30)  # until its workers, who hold the pipe too, have gone
        assert child.returncode == -signal.SIGKILL
    shards = list(tmp_path.glob(f"{SHARDS}/*.npz"))
    again: list[int] = []
    data = tokenize(run_of(pictures, tmp_path), lambda _: lambda done, *_: again.append(done))
    assert again[0] == 8 * len(shards)  # what was done was not done again
    assert files(data.folder) == files(made.folder)


def _cut_off(content: bytes) -> bytes:
    return content[:-300]


def _of_unknown_compression(content: bytes) -> bytes:
    """In all entries of the zip's directory."""
    return re.sub(rb"(?<=PK\x01\x02.{6})\x00\x00", b"c\0", content, flags=re.DOTALL)


@pytest.mark.parametrize("damaged", [_cut_off, _of_unknown_compression])
def test_a_shard_that_is_damaged_is_made_again(
    pictures: Path,
    made: TokenData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damaged: Callable[[bytes], bytes],
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_merge_shards", killed)
        with pytest.raises(Killed):
            tokenize(run_of(pictures, tmp_path), quiet)
    shard = sorted((tmp_path / SHARDS).iterdir())[3]
    shard.write_bytes(damaged(shard.read_bytes()))
    assert files(tokenize(run_of(pictures, tmp_path), quiet).folder) == files(made.folder)


def test_a_run_that_is_done_is_not_done_again(pictures: Path, made: TokenData) -> None:
    before = files(made.folder)
    asked: list[str] = []

    def report(name: str) -> Callable[[int, int, str], None]:
        asked.append(name)
        return lambda *_: None

    tokenize(run_of(pictures, made.folder), report)
    assert not asked
    assert files(made.folder) == before


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"size": 8}, "size was 16 and is now 8"),
        ({"factor": 8}, "factor was 4 and is now 8"),
        ({"codebook_size": 16}, "codebook_size was 32 and is now 16"),
        ({"shard_images": 9}, "shard_images was 8 and is now 9"),
        ({"size": 18}, "size = 18 is not a multiple of the tokenizer's factor 4"),
    ],
)
def test_another_runs_folder_is_refused(
    pictures: Path, made: TokenData, changed: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        tokenize(run_of(pictures, made.folder, **changed), quiet)


def test_a_run_that_failed_before_it_made_anything_is_begun_again_with_other_settings(
    pictures: Path, tmp_path: Path
) -> None:
    for grey in range(4):
        (tmp_path / "plain").mkdir(exist_ok=True)
        Image.new("L", (SIZE, SIZE), grey).save(tmp_path / "plain" / f"{grey}.png")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="expected at least 32 distinct patches"):
        tokenize(run_of(tmp_path / "plain", out), quiet)
    assert tokenize(run_of(tmp_path / "plain", out, codebook_size=4), quiet).images == 4
    (out / SETTINGS).unlink()
    with pytest.raises(ValueError, match="not all of its images are tokenised yet; repeat"):
        TokenData.open(out)
    with pytest.raises(ValueError, match="or patches alone, to fit one to your images$"):
        tokenize(run_of(pictures, tmp_path / "other", tokenizer="patch"), quiet)


def test_other_images_and_other_tokenizers_are_refused(
    pictures: Path, made: TokenData, tmp_path: Path
) -> None:
    source = open_source(pictures)
    fewer = replace(source, items=source.items[1:])
    with pytest.raises(ValueError, match="belongs to another run: images_hash was 'sha256:"):
        tokenize(run_of(pictures, made.folder, source=fewer), quiet)
    named = f"patches:{made.folder / FITTED}"
    with pytest.raises(ValueError, match="belongs to another run: factor was 4 and is now None"):
        tokenize(run_of(pictures, made.folder, tokenizer=named), quiet)
    shutil.copy(made.folder / TOKENS, tmp_path)
    with pytest.raises(ValueError, match="contains token data that this run did not make"):
        tokenize(run_of(pictures, tmp_path), quiet)


def test_a_tokenizer_that_is_not_the_same_any_more(
    pictures: Path, made: TokenData, tmp_path: Path
) -> None:
    shutil.copytree(made.folder, tmp_path / "data")
    other = tokenize(run_of(pictures, tmp_path / "other", codebook_size=16), quiet)
    shutil.copy(other.folder / FITTED, tmp_path / "data" / FITTED)
    with pytest.raises(ValueError, match="is not the tokenizer"):
        tokenizer_of(TokenData.open(tmp_path / "data"))
    public = TokenData.from_public(made.folder / TOKENS, tmp_path / "public", 32)
    with pytest.raises(ValueError, match="the tokenizer of the tokens is unknown"):
        tokenizer_of(public)


def test_the_command(autonat: Autonat, pictures: Path, made: TokenData, tmp_path: Path) -> None:
    fitted = made.folder / FITTED
    words = ["tokenize", pictures, "--size", SIZE, "--out", tmp_path / "data"]
    code, out, err = autonat(*words, "--tokenizer", f"patches:{fitted}", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["hash"] == made.hash()
    assert (told["images"], told["skipped"], told["classes"]) == (USABLE, len(FAULTS), 2)
    assert "tokenizing: 65/65" in err
    assert "5 skipped" in err
    code, out, _ = autonat(*words, "--tokenizer", f"patches:{fitted}")
    assert code == 0
    assert "60 images and their mirror images, 4 x 4 tokens each" in out
    assert f"{tmp_path / 'data' / SKIPPED}  5 images skipped" in out


def test_the_published_tokenizer(autonat: Autonat, pictures: Path, tmp_path: Path) -> None:
    """A checkpoint of the public format; its factor is 2, to be small."""
    checkpoint = Path(__file__).parents[1] / "files" / "vqgan.ckpt"
    words = ["tokenize", pictures, "--size", SIZE, "--tokenizer", f"vqgan:{checkpoint}"]
    code, _, err = autonat(*words, "--out", tmp_path)
    assert code == 0, err
    data = TokenData.open(tmp_path)
    assert (data.images, data.settings.grid) == (USABLE, (8, 8))
    image = load_image(next(i for i in open_source(pictures).items if i.label == 0), SIZE)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
    tokens = tokenizer_of(data).encode(pixels)
    np.testing.assert_array_equal(data.tokens[0], tokens.flatten())


def test_a_public_file_of_tokens(autonat: Autonat, made: TokenData, tmp_path: Path) -> None:
    """What tokenize writes is that layout."""
    public = shutil.copy(made.folder / TOKENS, tmp_path / "public.npy")
    fitted = f"patches:{made.folder / FITTED}"
    words = ["tokenize", public, "--out", tmp_path / "taken"]
    code, out, err = autonat(*words, "--tokenizer", fitted)
    assert code == 0, err
    assert f"{USABLE} images and their mirror images, 4 x 4 tokens each" in out
    taken = TokenData.open(tmp_path / "taken")
    np.testing.assert_array_equal(np.load(taken.folder / TOKENS), np.load(made.folder / TOKENS))
    assert taken.settings.image_size == SIZE
    assert tokenizer_of(taken).hash() == tokenizer_of(made).hash()
    code, _, err = autonat(*words, "--tokenizer", "patches")
    assert (code, err.count("autonat: ")) == (2, 1)
    assert "expected the name of the tokenizer that made them" in err


def test_ctrl_c_stops_and_the_same_command_goes_on(
    autonat: Autonat,
    pictures: Path,
    made: TokenData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupting(LiveProgress):
        def update(self, name: str, done: int, total: int, note: str) -> None:
            super().update(name, done, total, note)
            if name == "tokenizing" and done > 20:
                signal.raise_signal(signal.SIGINT)

    words = ["tokenize", pictures, "--size", SIZE, "--out", tmp_path, "--batch", 3]
    words += ["--tokenizer", f"patches:{made.folder / FITTED}"]
    with monkeypatch.context() as patch:
        patch.setattr(cli_data, "LiveProgress", Interrupting)
        code, out, err = autonat(*words)
    assert (code, out) == (130, "")
    assert err.endswith("interrupted; the same command resumes from here\n")
    assert "Traceback" not in err
    assert not (tmp_path / SETTINGS).exists()
    assert autonat(*words)[0] == 0
    assert TokenData.open(tmp_path).hash() == made.hash()


@pytest.mark.parametrize("kind", ["coco", "tsv", "tars"])
def test_captions_travel_with_their_images(
    autonat: Autonat, pictures: Path, made: TokenData, tmp_path: Path, kind: str
) -> None:
    """Of four images one is broken and one has no caption; COCO's may have several."""
    china = sorted((pictures / "china").glob("0*"))[:3]
    files = [china[0], pictures / "china" / "cut.jpg", china[1], china[2]]
    texts = [["a roof", "a tower"], ["broken"], [], ["trees"]]
    names = [str(path.relative_to(pictures)) for path in files]
    place: list[Any] = [pictures]
    if kind == "coco":
        content = {
            "images": [{"id": 7 * i, "file_name": name} for i, name in enumerate(names)],
            "annotations": [
                {"id": j, "image_id": 7 * i, "caption": text}
                for i, found in enumerate(texts)
                for j, text in enumerate(found)
            ],
        }
        (tmp_path / "captions.json").write_text(json.dumps(content))
        place += ["--captions", tmp_path / "captions.json"]
    elif kind == "tsv":
        lines = [
            f"{text}\t{name}\n"
            for name, found in zip(names, texts, strict=True)
            for text in found or [""]
        ]
        (tmp_path / "captions.tsv").write_text("".join(lines))
        place += ["--captions", tmp_path / "captions.tsv"]
    else:
        texts[0] = ["a roof"]
        place = [tmp_path / "tars"]
        place[0].mkdir()
        for shard in range(2):
            with tarfile.open(place[0] / f"{shard:05d}.tar", "w") as tar:
                for i in (2 * shard, 2 * shard + 1):
                    add(tar, f"{i:09d}{files[i].suffix}", files[i].read_bytes())
                    for text in texts[i]:
                        add(tar, f"{i:09d}.txt", text.encode())
    words = ["--tokenizer", f"patches:{made.folder / FITTED}", "--size", SIZE]
    code, _, err = autonat("tokenize", *place, *words, "--out", tmp_path / "data")
    assert code == 0, err
    data = TokenData.open(tmp_path / "data")
    assert (data.images, data.settings.skipped, data.num_classes) == (2, 2, 0)
    captions = data.captions()
    assert captions is not None
    assert list(zip(captions["image"], captions["caption"], strict=True)) == [
        *[(0, text) for text in texts[0]],
        (1, "trees"),
    ]
    skipped = (tmp_path / "data" / SKIPPED).read_text().splitlines()
    assert "truncated" in skipped[0]
    assert skipped[1].endswith("\tno caption")
    every = [i for i in open_source(pictures).items if i.name not in FAULTS]
    index = [str(Path(i.path)) for i in every].index(str(files[3]))
    np.testing.assert_array_equal(data.tokens[2:], made.tokens[2 * index : 2 * index + 2])


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere: No such file or directory"),
        (["{pictures}", "--size", "18"], "not a multiple of the tokenizer's factor 8"),
        (["{pictures}", "--size", "4000"], "none of 65 images can be used"),
        (["{pictures}", "--out", "{pictures}/x"], "--out: expected a folder outside the images"),
        (["{pictures}", "--captions", "x.json"], "x.json: No such file or directory"),
        (
            ["{pictures}", "--tokenizer", "patches:{fitted}", "--factor", "4"],
            "--factor: expected --tokenizer patches",
        ),
        (
            ["{pictures}", "--tokenizer", "patches:{fitted}", "--size", "4000"],
            "all 65 images were skipped; the first: stray.png: not in a folder of a class",
        ),
    ],
)
def test_bad_input_is_one_line(
    autonat: Autonat, pictures: Path, made: TokenData, words: list[str], line: str
) -> None:
    filled = [w.format(pictures=pictures, fitted=made.folder / FITTED) for w in words]
    plain = ["--out", "data", "--tokenizer", "patches"]
    code, out, err = autonat("tokenize", *laid_over(plain, *filled))
    assert (code, out) == (2, "")
    told = [text for text in err.splitlines() if text.startswith("autonat: ")]
    assert len(told) == 1
    assert err.endswith(told[0] + "\n")
    assert line in told[0]
