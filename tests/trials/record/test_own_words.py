from __future__ import annotations

from trials.record.own_words import END, with_own_words


def test_what_people_wrote_stays() -> None:
    first = with_own_words("ours", "")
    assert first == f"ours\n\n{END}"
    assert with_own_words("ours", first) == first
    theirs = with_own_words("ours", "a note from before us")
    assert theirs == f"ours\n\n{END}\n\na note from before us"
    assert with_own_words("anew", f"{first}\n\nmine\n") == f"anew\n\n{END}\n\nmine"
