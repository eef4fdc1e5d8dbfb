"""The letters that come with the package: what the objective must be worth, and its files."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.letters import CHARACTERS, decode, encode, read_pictures
from search.controls import more_remask_noise, one_step
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objectives.letters import objective as letters_module
from trials.objectives.letters.files import FOLDER, read_size
from trials.objectives.letters.objective import LettersObjective

N = 324
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> LettersObjective:
    objective = LettersObjective()
    objective.prepare(tmp_path_factory.mktemp("lab"), lambda *_: None)
    return objective


@pytest.fixture(scope="module")
def drawn(letters: LettersObjective) -> torch.Tensor:
    """Generated pictures [720, 16, 16] in [0, 1], with the classes in turn."""
    return torch.from_numpy(letters.sample(more_remask_noise(4), 720, 1)) / 255


def fid_of(letters: LettersObjective, images: torch.Tensor) -> float:
    evaluator = letters._yardstick.evaluator
    with torch.inference_mode():
        *_, found = evaluator.estimates([images], [len(images)], len(CHARACTERS))
    return found.value


def test_the_ladder_holds(letters: LettersObjective) -> None:
    anchors = letters.anchors(N)
    ladder = [letters.evaluate(more_remask_noise(steps), N, 1).value for steps in (16, 8, 4)]
    ladder.append(letters.evaluate(one_step(4), N, 1).value)
    assert ladder == sorted(ladder)
    assert anchors["real images"] < ladder[0]
    assert 3 * ladder[2] < ladder[3] < anchors["constant image"]


def test_what_is_wrong_with_pictures_is_seen(
    letters: LettersObjective, drawn: torch.Tensor
) -> None:
    whole = fid_of(letters, drawn)
    order = torch.arange(len(drawn))
    others = order[order % len(CHARACTERS) != 0]
    without_a = drawn[others.repeat(2)[: len(drawn)]]
    again = drawn[order % (len(drawn) // 4)]
    noise = torch.rand(drawn.shape, generator=torch.Generator().manual_seed(0))
    blank, mean = torch.zeros_like(drawn), drawn.mean(0).expand_as(drawn)
    assert whole + 1 < fid_of(letters, without_a)
    assert 1.3 * whole < fid_of(letters, again)
    for worthless in (noise, blank, mean):
        assert 5 * whole < fid_of(letters, worthless)


def test_the_large_one_generates_letters_of_32_pixels(tmp_path: Path) -> None:
    large = LettersObjective(size="large")
    large.prepare(tmp_path, lambda *_: None)
    sent: LettersObjective = pickle.loads(pickle.dumps(large))
    grid = sent.class_grid(GenerationStrategy.maskgit(2), 3, 1, 0)
    assert grid.images.shape == (1, 3, 32, 32)
    assert list(grid.classes) == ["A", "M", "Y"]
    shown = sent.real_grid(36, 4)
    assert shown is not None
    assert "".join(shown.classes) == CHARACTERS


def test_what_comes_with_the_package_is_small() -> None:
    made = [path for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".npz")]
    assert len(made) == 4
    assert sum(path.stat().st_size for path in made) < 4_000_000


def test_tokens_of_decoded_pictures_are_the_same_tokens() -> None:
    file = read_size(FOLDER / "small.safetensors")
    assert (encode(decode(file.examples, file.codes, 8), file.codes) == file.examples).all()


def test_another_training_strategy_is_trained_on_the_pictures(
    letter_pictures: Path, tmp_path: Path
) -> None:
    objective = LettersObjective(data=str(letter_pictures), batch_size=16)
    *_, made = objective.train(
        TrainingStrategy("beta", {"alpha": 12, "beta": 3}), 0, (2,), tmp_path / "t", tmp_path, None
    )
    assert made.checkpoint is not None
    again = objective.with_checkpoint(tmp_path, made.checkpoint)
    two = GenerationStrategy.maskgit(2)
    assert again.evaluate(two, 300, 1).value == made.objective.evaluate(two, 300, 1).value


def test_other_metrics_measure_with_the_pictures(letter_pictures: Path) -> None:
    objective = LettersObjective(data=str(letter_pictures), metric="kid")
    objective.prepare(letter_pictures.parent, lambda *_: None)
    assert objective.evaluate(GenerationStrategy.maskgit(2), 100, 1).finite


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"size": "huge"}, "size = 'huge' is unknown; known: small, large"),
        ({"metric": "kid"}, "metric kid needs the real pictures: give the setting data"),
        ({"data": "none.npz"}, "none.npz: No such file or directory"),
        ({"classes": "some"}, "classes = 'some' is unknown"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        LettersObjective(**settings)  # type: ignore[arg-type]


def test_training_without_pictures_says_where_they_come_from() -> None:
    with pytest.raises(ValueError, match="render_letters of autonat's repository makes, got None"):
        LettersObjective().training_key(TrainingStrategy("uniform"), 0)


def test_a_package_without_its_data_or_of_another_version_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "letters"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(letters_module, "FOLDER", folder)
    content = (folder / "small.safetensors").read_bytes()
    other = content.replace(b"autonat-letters/1", b"autonat-letters/9")
    for wrong, line in (
        (other, "format = 'autonat-letters/9' is unknown; known: 'autonat-letters/1'"),
        (content[:-100], "damaged or cut off"),
        ((folder / "features.safetensors").read_bytes(), "not a file of letters"),
        (
            (folder / "large.safetensors").read_bytes(),
            r"small.safetensors: expected letters of 16 x 16 pixels, got \(32, 32\)",
        ),
    ):
        (folder / "small.safetensors").write_bytes(wrong)
        with pytest.raises(ValueError, match=line):
            LettersObjective()
    (folder / "small.safetensors").unlink()
    with pytest.raises(ValueError, match=r"small\.safetensors"):
        LettersObjective()


@pytest.mark.parametrize("wrong", ["text", "shape", "classes"])
def test_a_file_that_holds_no_pictures_is_one_line(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "letters.npz"
    x, y = np.zeros((72, 32, 32), np.uint8), np.arange(72, dtype=np.uint8) % 36
    if wrong == "text":
        path.write_text("A")
    else:
        np.savez(path, x=x[:, :8] if wrong == "shape" else x, y=y if wrong == "shape" else y[:36])
    with pytest.raises(ValueError, match=str(path)):
        read_pictures(path)
