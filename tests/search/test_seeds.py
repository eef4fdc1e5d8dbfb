from __future__ import annotations

from search.optimiser import evaluation_seed
from search.seeds import derived_seed


def test_seeds_are_those_that_were_always_drawn() -> None:
    assert derived_seed("training", 0, 0) == 29534867705903402
    assert derived_seed("images", 7, 3) == 43518808483608756
    assert evaluation_seed(5, 11) == 3513122717
    assert derived_seed("images", 7, 3) != derived_seed("training", 7, 3)
