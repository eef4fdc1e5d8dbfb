"""Sheets of samples: classes in columns, real images first, small files."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from dashboards import sample_grids
from dashboards.sample_grids import LABEL_HEIGHT, samples_png, sheets_part
from dashboards.samples import png
from trials.objectives.pictures import ClassGrid
from trials.results.results import MethodResult

Results = Callable[..., list[MethodResult]]


def test_real_images_come_first_and_have_no_number(results: Results) -> None:
    found = results({"tpe": 3.9})[:2]
    images, classes = np.zeros((2, 6, 8, 8), np.uint8), ("one", "two", "three", "4", "5", "6")
    named = [(r.label, dataclasses.replace(r, sample_classes=classes)) for r in found]
    parts = sheets_part(named, {r.label: "#000" for r in found}, ClassGrid(images, classes))
    assert [part["label"] for part in parts] == ["real images", *(r.label for r in found)]
    assert [bool(part["fid"]) for part in parts] == [False, True, True]
    assert all(part["classes"] == [*classes] for part in parts)
    assert sheets_part([(named[0][0], dataclasses.replace(found[0], samples=None))], {}, None) == []


def test_photographs_of_many_methods_are_shrunk(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 255, (4, 128, 128, 3), np.uint8)
    found = [dataclasses.replace(r, samples=photos) for r in results({"a": 3.9, "b": 4.0})[:2]]
    monkeypatch.setattr(sample_grids, "PIXELS", 20_000)
    parts = sheets_part([(r.label, r) for r in found], {r.label: "" for r in found}, None)
    assert sum(len(part["uri"]) for part in parts) < 60_000
    assert not any(part["sharp"] for part in parts)


def test_a_picture_has_a_line_with_the_classes() -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    picture = Image.open(io.BytesIO(samples_png(images, ("a", "a very long name of a class " * 9))))
    plain = Image.open(io.BytesIO(samples_png(images)))
    assert picture.height == plain.height + LABEL_HEIGHT
    assert np.asarray(picture)[:LABEL_HEIGHT].min() == 0


def test_few_colours_are_kept_exactly_and_many_become_256() -> None:
    rng = np.random.default_rng(0)
    few = rng.choice(np.array([(255, 0, 0), (1, 2, 3)], np.uint8), (8, 9))
    many = rng.integers(0, 255, (64, 64, 3), np.uint8)
    for sheet, exact in ((few, True), (many, False)):
        picture = Image.open(io.BytesIO(png(sheet, colours=256)))
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture.convert("RGB")), sheet) is exact
