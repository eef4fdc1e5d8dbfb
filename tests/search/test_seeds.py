from __future__ import annotations

import math

from search.optimiser import evaluation_seed
from search.seeds import derived_seed, means_over_shared_seeds


def test_seeds_are_those_that_were_always_drawn() -> None:
    assert derived_seed("training", 0, 0) == 29534867705903402
    assert derived_seed("images", 7, 3) == 43518808483608756
    assert evaluation_seed(5, 11) == 3513122717
    assert derived_seed("images", 7, 3) != derived_seed("training", 7, 3)


def test_means_compare_only_under_seeds_that_all_have() -> None:
    better, worse = {1: 10.0, 3: 9.0}, {1: 10.5, 2: 1.5, 3: 9.5}
    assert means_over_shared_seeds({"better": better, "worse": worse}) == {
        "better": 9.5,
        "worse": 10.0,
    }


def test_one_that_mostly_failed_takes_no_seeds_from_the_others() -> None:
    values = {"a": {1: 9.0, 2: 9.0, 3: 9.0}, "b": {1: 8.9, 2: 20.0, 3: 20.0}, "c": {1: 30.0}}
    means = means_over_shared_seeds(values)
    assert min(means, key=means.__getitem__) == "a"
    assert means["c"] == math.inf
    assert means_over_shared_seeds({"a": {}, "b": {}}) == {"a": math.inf, "b": math.inf}
    assert means_over_shared_seeds({"a": {1: 2.0}, "b": {2: 3.0}}) == {"a": 2.0, "b": 3.0}
