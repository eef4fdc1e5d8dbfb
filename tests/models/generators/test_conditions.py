from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.generators.conditions import Conditions


def texts(count: int) -> Conditions:
    rows = torch.arange(count)
    return Conditions(rows[:, None, None].expand(count, 2, 3), rows[:, None].float(), rows > 1)


def same(one: Conditions, other: Conditions) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parts, other.parts, strict=True))


@pytest.mark.parametrize("rows", [1, 2, 5, 9])
def test_pieces_joined_are_the_whole(rows: int) -> None:
    pieces = texts(5).split(rows)
    assert [len(piece) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    assert same(Conditions.cat(pieces), texts(5))


def test_rows_are_chosen_by_slice_and_by_number() -> None:
    assert same(texts(5)[1:3], texts(5)[torch.tensor([1, 2])])


def test_classes_are_told_apart_and_texts_all_differ() -> None:
    classes = torch.tensor([3, 1, 3, 3])
    kinds, which = Conditions(classes).distinct()
    assert kinds.parts[0].tolist() == [1, 3]
    assert torch.equal(kinds[which].parts[0], classes)
    kinds, which = texts(3).distinct()
    assert (len(kinds), which.tolist()) == (3, [0, 1, 2])


@pytest.mark.parametrize(
    ("parts", "got"),
    [
        ((), "got no tensor"),
        ((torch.zeros(2), torch.zeros(3, 1)), r"got \(2,\), \(3, 1\)"),
        ((torch.tensor(1),), r"got \(\)"),
    ],
)
def test_parts_without_a_row_for_each_image(parts: tuple[Tensor, ...], got: str) -> None:
    with pytest.raises(ValueError, match=got):
        Conditions(*parts)
