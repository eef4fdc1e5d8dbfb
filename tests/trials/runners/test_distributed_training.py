"""Real Ray Train with two gloo workers, against one worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.training.checkpoints import load_nat_folder
from models.training.training import CHECKPOINT
from trials.objectives.digits import DigitsObjective
from trials.runners.distributed_training import train_together

SMALL = {"width": 16, "depth": 2, "num_heads": 2, "training_steps": 8}


def weights(lab: Path) -> dict[str, torch.Tensor]:
    (folder,) = (lab / "models").iterdir()
    return load_nat_folder(folder).state_dict()


def test_two_workers_train_to_the_weights_of_one(tmp_path: Path) -> None:
    DigitsObjective(**SMALL).prepare(tmp_path / "one", lambda *_: None)
    objective = DigitsObjective(**SMALL)
    told: list[tuple[int, int, str]] = []
    train_together(objective, tmp_path / "two", lambda *words: told.append(words), workers=2)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-3)
    assert told[-1][:2] == (8, 8)
    # It is prepared, and one worker goes on from what two left.
    assert objective.describe()["checkpoint"] is not None
    (folder,) = (tmp_path / "two" / "models").iterdir()
    assert torch.load(folder / CHECKPOINT, weights_only=True)["step"] == 8


@pytest.mark.long
def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    objective = DigitsObjective(**SMALL)
    settings = replace(objective._training.settings, learning_rate=1e30)
    objective._given_training = replace(objective._training, settings=settings)
    with pytest.raises(ValueError, match="the training failed: .*diverged"):
        train_together(objective, tmp_path, lambda *_: None, workers=1)


@pytest.mark.parametrize("workers", [0, 65])
def test_more_workers_than_images_of_a_step(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers = {workers} is outside \\[1, 64\\]"):
        train_together(DigitsObjective(), tmp_path, lambda *_: None, workers=workers)
