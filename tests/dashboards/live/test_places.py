from __future__ import annotations

from dashboards.live.places import PLACES, placed


def test_a_search_keeps_its_place_while_others_come_and_go() -> None:
    first = placed([], ["a", "b"])
    assert first[:3] == ["a", "b", None]
    later = placed(first, ["c", "b"])
    assert later[:3] == ["c", "b", None]
    assert placed(later, ["d", "c", "b"])[:3] == ["c", "b", "d"]


def test_no_more_searches_are_shown_than_there_are_places() -> None:
    names = [f"search {i}" for i in range(PLACES + 3)]
    assert placed([], names) == names[:PLACES]
    moved = placed(names[:PLACES], names[3:])
    assert len(moved) == PLACES
    assert {*moved} == {*names[3:]}
