"""Pictures of generators: images by class, real ones of the same classes, and how images form."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from docs.extending.captioned import CaptionedObjective
from models.data.digits import digits, tokens_to_images
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.objectives.digits import DigitsObjective
from trials.objectives.drawing import class_grid_of, film_of, real_grid_of
from trials.objectives.images import ImagesObjective
from trials.objectives.pictures import ClassGrid, Film
from trials.objectives.real_examples import RealExamples

FOUR = GenerationStrategy.maskgit(4)


def test_digits_have_a_class_in_each_column_and_real_ones_beside(trained: DigitsObjective) -> None:
    grid = trained.class_grid(FOUR, 10, 3, 0)
    assert grid.images.shape == (3, 10, 8, 8)
    assert grid.classes == tuple("0123456789")
    assert np.array_equal(trained.class_grid(FOUR, 10, 1, 0).images, grid.images[:1])
    real = trained.real_grid(10, 2)
    assert real is not None
    tokens, classes = digits()
    threes = (tokens_to_images(tokens[classes == 3][:2]) * 255).round().byte().numpy()
    assert np.array_equal(real.images[:, 3], threes)


def test_a_film_ends_with_the_images_and_shows_which_tokens_are_masked(
    trained: DigitsObjective,
) -> None:
    film = trained.film(FOUR, 10, 0)
    assert film.frames.shape == (4, 10, 8, 8)
    assert np.array_equal(film.frames[-1], trained.class_grid(FOUR, 10, 1, 0).images[0])
    counts = [set(step.sum(1).tolist()) for step in film.masked]
    assert counts == [{n} for n in FOUR.masked_counts(64)]
    kept = ~film.masked.reshape(4, 10, 8, 8)
    for before, after in zip(range(3), range(1, 4), strict=True):
        same = film.frames[before][kept[before]] == film.frames[after][kept[before]]
        assert same.all()


def test_pictures_do_not_touch_what_is_measured(trained: DigitsObjective) -> None:
    before = trained.evaluate(FOUR, 100, 5).value
    trained.film(FOUR, 10, 5)
    trained.class_grid(FOUR, 10, 2, 5)
    assert trained.evaluate(FOUR, 100, 5).value == before


def test_images_know_the_names_of_their_classes(trained_images: ImagesObjective) -> None:
    grid, real = trained_images.class_grid(FOUR, 10, 2, 0), trained_images.real_grid(10, 2)
    assert grid.classes == ("china", "flower")
    assert real is not None
    assert real.classes == grid.classes
    assert real.images.shape == grid.images.shape == (2, 2, 16, 16, 3)
    assert trained_images.film(FOUR, 10, 0).grid == (4, 4)


def test_a_generator_of_ones_own_has_numbers_for_names_and_no_real_images() -> None:
    mine = CaptionedObjective()
    assert mine.real_grid(10, 2) is None
    assert mine.class_grid(FOUR, 3, 1, 0).classes == tuple(f"condition {c}" for c in (0, 2, 4))
    film = mine.film(FOUR, 3, 0)
    assert film.grid is None
    assert film.frames.shape == (4, 3, 6, 6, 3)


def test_memory_that_runs_out_leaves_one_film(
    trained: DigitsObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained.film(FOUR, 4, 0)
    generator, calls = type(trained._generating.generator), [0]
    answer = generator.__call__

    def full(self: Any, tokens: torch.Tensor, conditions: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 3:
            raise torch.OutOfMemoryError
        return answer(self, tokens, conditions)

    monkeypatch.setattr(generator, "__call__", full)
    monkeypatch.setattr(trained._generating, "rows_at_once", None)
    assert np.array_equal(trained.film(FOUR, 4, 0).masked, whole.masked)


def test_rows_of_real_images_are_whole() -> None:
    known = RealExamples(np.arange(12).reshape(6, 2), np.array([0, 1, 0, 0, 1, 2]))
    assert known.first([0, 1], 3)[..., 0].tolist() == [[0, 2], [4, 8]]
    assert known.first([0, 0], 3)[..., 0].tolist() == [[0, 4]]
    assert known.first([2, 3], 3).shape == (0, 2, 2)


BLACK = np.zeros((4, 2, 3, 3), np.uint8)
MASKED = np.zeros((4, 2, 9), np.bool_)
GOOD = Film(BLACK, MASKED, (3, 3))


class Odd:
    def __init__(self, found: Any) -> None:
        self.found = found

    def film(self, *_: Any) -> Any:
        return self.found

    real_grid = class_grid = film


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (3, "film: expected a Film, got 3"),
        (dataclasses.replace(GOOD, frames=BLACK[0]), "uint8 [T, n, H, W] or [T, n, H, W, 3], got"),
        (dataclasses.replace(GOOD, frames=BLACK[:3]), "a frame for each of 4 steps, got 3"),
        (dataclasses.replace(GOOD, masked=MASKED[:, 0]), "expected masked as bool [4, 2] with"),
        (dataclasses.replace(GOOD, grid=(3, 4)), "a grid (h, w) of 9 tokens, got (3, 4)"),
    ],
)
def test_a_film_that_is_none_is_refused(found: Any, line: str) -> None:
    assert film_of(Odd(GOOD), FOUR, 2, 0) is GOOD
    with pytest.raises(ValueError, match=re.escape(line)):
        film_of(Odd(found), FOUR, 2, 0)


def test_a_grid_that_is_none_is_refused() -> None:
    assert real_grid_of(Odd(None), 2, 2) is None
    with pytest.raises(ValueError, match="class_grid: expected a ClassGrid, got None"):
        class_grid_of(Odd(None), FOUR, 2, 2, 0)
    with pytest.raises(ValueError, match="a class for each of 2 columns, got 1"):
        real_grid_of(Odd(ClassGrid(BLACK, ("one",))), 2, 2)


def test_the_command_line_draws_a_film(
    autonat: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    StrategyFile(FOUR).write(tmp_path / "four.json")
    words = ("sample", tmp_path / "four.json", "film.png", "--film", "--objective")
    code, out, _ = autonat(*words, "docs.extending.captioned:CaptionedObjective")
    assert (code, out) == (0, "film.png\n")
    assert Image.open("film.png").width == 4 * 220
    code, _, said = autonat(*words, "simulated")
    assert code == 2
    assert "objective simulated lacks the method film: it cannot show how images form" in said
