from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.description import describe
from trials.objectives.objective import OBJECTIVES, load_objective
from trials.objectives.simulated import SimulatedObjective

OWN = """
from search.measurement import Measurement

class Generator:
    tokens = 16
    def __init__(self, *, scale=1.0):
        self.scale = scale
    def describe(self):
        return {"protocol": {"features": "mine"}}
    def evaluate(self, strategy, images, seed):
        return Measurement(self.scale, None, images, strategy.forward_passes(), 0.0)

class NoEvaluate:
    tokens = 16
    def describe(self): ...

class NoTokens:
    def describe(self): ...
    def evaluate(self, strategy, images, seed): ...
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_objectives.py").write_text(OWN)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise ImportError('the wrong models')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "nothing"))


def test_both_built_in_objectives_are_registered() -> None:
    assert {"digits", "simulated"} <= set(OBJECTIVES.names())


def test_an_own_class_is_found_in_the_current_folder(own: None) -> None:
    objective = load_objective("own_objectives:Generator", {"scale": 2.5})
    measured = objective.evaluate(GenerationStrategy.maskgit(2), 10, 1)
    assert measured.value == 2.5
    described = describe("own_objectives:Generator", {"scale": 2.5}, objective)
    assert described["protocol"]["features"] == "mine"
    assert described["protocol"]["resize"] is None


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        (
            "nothing",
            {},
            "objective = 'nothing' is unknown; known: digits, letters, images, simulated",
        ),
        ("no_such_module:X", {}, "No module named 'no_such_module'"),
        ("own_objectives:Missing", {}, "has no class 'Missing'"),
        ("own_objectives:NoEvaluate", {}, "lacks the method evaluate"),
        ("own_objectives:NoTokens", {}, "tokens = None"),
        ("own_objectives:Generator", {"size": 3}, "has no setting size"),
        ("simulated", {"noise": -1.0}, "noise = -1.0"),
        ("simulated", {"latency": float("nan")}, "latency = nan"),
    ],
)
def test_what_does_not_fit_is_one_line(
    own: None, name: str, settings: dict[str, object], line: str
) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        load_objective(name, settings)
    assert "\n" not in str(caught.value)


def test_simulated_is_repeatable_and_seeds_matter() -> None:
    objective, strategy = SimulatedObjective(), GenerationStrategy.maskgit(8)
    first, second = (objective.evaluate(strategy, 400, 5).value for _ in range(2))
    assert first == second
    assert objective.evaluate(strategy, 400, 6).value != first


def test_simulated_common_seeds_cancel_noise_between_neighbours() -> None:
    objective, base = SimulatedObjective(), GenerationStrategy.maskgit(8)
    near = GenerationStrategy(
        base.mask_ratio, base.remask_temperature, (1.02,) * 8, base.guidance_scale
    )
    common, fresh = [], []
    for seed in range(60):
        here = objective.evaluate(base, 400, seed).value
        common.append(objective.evaluate(near, 400, seed).value - here)
        fresh.append(objective.evaluate(near, 400, seed + 1000).value - here)

    def spread(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5

    assert spread(common) < spread(fresh) / 3.5


def test_simulated_without_noise_is_its_truth_and_has_a_bias_that_falls_with_n() -> None:
    objective, strategy = SimulatedObjective(noise=0.0), GenerationStrategy.maskgit(4)
    small, large = (objective.evaluate(strategy, n, 0).value for n in (300, 3000))
    assert small == objective.truth(strategy, 300)
    slope = (small - large) / (1 / 300 - 1 / 3000)
    largest = objective.truth(strategy, 10**9)
    assert large - largest == pytest.approx(slope / 3000, rel=1e-3)
    assert slope > 0


@pytest.mark.parametrize("steps", [2, 4, 8, 16])
def test_nothing_is_better_than_simulated_s_best(steps: int) -> None:
    objective = SimulatedObjective()
    best = objective.best(steps)
    lowest = objective.truth(best, 1000)
    rng = np.random.default_rng(0)
    space = Space(GenerationStrategy.maskgit(steps))
    unit = space.to_unit(space.to_vector(best))
    for width in (0.02, 0.1, 0.4):
        near = np.clip(unit + width * rng.normal(size=(50, len(unit))), 0, 1)
        # Tokens are whole: the best itself is rounded.
        assert all(
            objective.truth(space.from_vector(space.from_unit(row)), 1000) > 0.999 * lowest
            for row in near
        )
    assert objective.truth(space.start, 1000) > 1.2 * lowest


USERS = """
class Named:
    tokens = 4
    def __init__(self, *, mask_ratio_distribution=None): ...
    def describe(self): return {}
    def evaluate(self, strategy, images, seed): ...
class Open(Named):
    def __init__(self, *, mask_ratio_distribution="mine", **others): ...
class Needy(Named):
    def __init__(self, *, mask_ratio_distribution): ...
"""


def test_a_users_settings_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_settings.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)
    load_objective("users_settings:Named", {})
    load_objective("users_settings:Open", {"width": 3})
    with pytest.raises(ValueError, match="needs the setting mask_ratio_distribution"):
        load_objective("users_settings:Needy", {})
