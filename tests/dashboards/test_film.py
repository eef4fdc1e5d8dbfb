"""The film of how an image forms, as frames and as one picture."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from dashboards.film import STRIPES, film_part, film_png, filmed, kept_words, sheets
from trials.objectives.pictures import Film
from trials.results.results import MethodResult

Results = Callable[..., list[MethodResult]]


def made(steps: int = 8, images: int = 4, side: int = 8) -> Film:
    """White images whose tokens are kept from the left, one column a step."""
    masked = np.zeros((steps, images, 8, 8), bool)
    for step in range(steps):
        masked[step, :, :, step + 1 :] = True
    frames = np.full((steps, images, side, side), 255, np.uint8)
    return Film(frames, masked.reshape(steps, images, 64), (8, 8))


def test_masked_tokens_are_striped_and_kept_ones_are_as_they_are() -> None:
    first = sheets(made(), 64)[0]
    image = first[1:33, 1:33]
    assert (image[:, :4] == 255).all()
    colours = {tuple(c) for c in image[:, 4:].reshape(-1, 3).tolist()}
    assert colours == {tuple(c) for c in STRIPES.tolist()}
    assert (sheets(made(), 64)[-1][1:33, 1:33] == 255).all()
    assert first.shape == (33 + 1, 4 * 33 + 1, 3)
    assert sheets(made(images=10), 64)[0].shape == (2 * 33 + 1, 5 * 33 + 1, 3)
    assert kept_words(made())[::7] == ["8 of 64 kept", "64 of 64 kept"]


def test_large_images_shrink_and_tokens_without_places_are_not_covered() -> None:
    film = dataclasses.replace(made(side=128), grid=None)
    assert all(set(np.unique(sheet)) == {128, 255} for sheet in sheets(film, 48))
    assert sheets(film, 48)[0].shape == (49 + 1, 4 * 49 + 1, 3)


@pytest.mark.parametrize("steps", [1, 9])
def test_one_picture_of_two_films(steps: int) -> None:
    frames = np.zeros((steps, 3, 8, 8, 3), np.uint8)
    film = Film(frames, np.zeros((steps, 3, 64), bool), (8, 8))
    picture = Image.open(io.BytesIO(film_png({"rule of thumb": film, "cost_$5_$x^$": film})))
    assert picture.format == "PNG"
    assert picture.width == round(220 * min(steps, 8))


def test_the_rule_of_thumb_stands_beside_the_best_search(results: Results) -> None:
    film = made()
    found = [dataclasses.replace(r, film=film) for r in results({"tpe": 3.9, "cmaes": 3.7})]
    assert [r.method for r in filmed(found[::-1])] == ["rule of thumb", "cmaes"]
    assert [r.method for r in filmed(found[:2])] == ["cmaes"]
    assert filmed(results({"tpe": 3.9})) == []
    part = film_part({r.label: r for r in found}, {r.label: "#000" for r in found})
    assert part is not None
    assert [len(f["frames"]) for f in part["films"]] == [8, 8]
