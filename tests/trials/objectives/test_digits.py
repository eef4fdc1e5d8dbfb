"""On the real digits and a NAT trained as the demo trains it: what the objective must be worth."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.digits import digits, tokens_to_images
from models.features.features import PixelsAndClasses
from models.metrics.frechet import frechet_distance
from models.metrics.metric import statistics_of
from search.controls import more_remask_noise, one_step
from search.strategy import GenerationStrategy
from trials.objectives.digits import DigitsObjective

N = 1000
# Trains for a minute or two on idle cores, and for longer beside other work.
pytestmark = pytest.mark.timeout(1200)


def best_known(steps: int) -> GenerationStrategy:
    """Found by hand: random order at first, then ever more by confidence."""
    falling = tuple(20 * (1 - np.linspace(0, 1, steps + 1))[:-2])
    return dataclasses.replace(
        more_remask_noise(steps),
        remask_temperature=falling,
        # Few steps want cooler samples; so chosen, the rungs lie several deviations apart.
        sampling_temperature=(0.8 if steps < 8 else 0.9,) * steps,
    )


def fid(objective: DigitsObjective, strategy: GenerationStrategy, seed: int = 1) -> float:
    return objective.evaluate(strategy, N, seed).value


def test_the_ladder_holds(trained: DigitsObjective) -> None:
    tokens, classes = digits()
    images = tokens_to_images(tokens)
    features = PixelsAndClasses.fit(images, classes)
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    halves = [statistics_of(features(half)) for half in shuffled.chunk(2)]
    real = float(frechet_distance(*halves))
    by_steps = {steps: fid(trained, best_known(steps)) for steps in (4, 8, 16)}
    one = fid(trained, one_step(8))
    rule = fid(trained, GenerationStrategy.maskgit(8))
    assert real < by_steps[16] < by_steps[8] < by_steps[4] < one
    assert one > 3 * by_steps[8]
    assert 1.2 * by_steps[8] < rule < 0.75 * one  # neither best nor hopeless


@pytest.mark.long
def test_a_class_that_the_generator_misses_is_seen(trained: DigitsObjective) -> None:
    """By far more than the noise of an evaluation at the same n, whichever class it is."""
    tokens, classes = digits()
    real_images = tokens_to_images(tokens)
    features = PixelsAndClasses.fit(real_images, classes)
    real = statistics_of(features(real_images))

    def distance(images: torch.Tensor) -> float:
        return float(frechet_distance(real, statistics_of(features(images))))

    drawn = [torch.from_numpy(trained.sample(best_known(8), N, seed)) / 255 for seed in range(6)]
    whole = [distance(images) for images in drawn]
    for missing in range(10):
        # Nine classes fill the same n, by repeating the first images of each.
        nine = torch.arange(N)[torch.arange(N) % 10 != missing][torch.arange(N) % (N * 9 // 10)]
        lacking = [distance(images[nine]) for images in drawn]
        assert np.mean(lacking) - np.mean(whole) > 8 * np.std(whole, ddof=1)


def test_same_strategy_n_and_seed_is_the_same_number_in_another_process(
    trained: DigitsObjective, tmp_path: Path
) -> None:
    sent = tmp_path / "objective"
    sent.write_bytes(pickle.dumps(trained))
    code = (
        "import pickle, sys; from pathlib import Path;"
        "from search.strategy import GenerationStrategy as G;"
        "o = pickle.loads(Path(sys.argv[1]).read_bytes());"
        "print(repr(o.evaluate(G.maskgit(4), 300, 5).value))"
    )
    words = [sys.executable, "-c", code, str(sent)]
    there = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    here = trained.evaluate(GenerationStrategy.maskgit(4), 300, 5)
    assert repr(here.value) == there.strip()
    assert here.forward_passes == 8
    assert here.images == 300


@pytest.mark.long
def test_common_seeds_cancel_noise_between_neighbours(trained: DigitsObjective) -> None:
    base = GenerationStrategy.maskgit(4)
    near = dataclasses.replace(base, remask_temperature=(1.05, 0.75, 0.5))
    here = {seed: trained.evaluate(base, 300, seed).value for seed in range(12)}
    common = [trained.evaluate(near, 300, seed).value - here[seed] for seed in range(6)]
    fresh = [trained.evaluate(near, 300, seed + 6).value - here[seed] for seed in range(6)]
    assert np.std(common) < np.std(fresh) / 2


def test_samples_are_the_first_images_with_the_classes_in_turn(trained: DigitsObjective) -> None:
    few = trained.sample(best_known(8), 20, seed=3)
    more = trained.sample(best_known(8), 300, seed=3)
    assert few.shape == (20, 8, 8)
    assert few.dtype == np.uint8
    assert (few == more[:20]).all()


def test_samples_read_as_digits(trained: DigitsObjective) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    tokens, classes = digits()
    reader = KNeighborsClassifier(3).fit(tokens.numpy(), classes.numpy())
    drawn = trained.sample(best_known(16), 400, seed=0).reshape(400, 64) / 255 * 16
    right = (reader.predict(drawn) == np.arange(400) % 10).mean()
    assert right > 0.85


def test_a_trained_model_is_cached_under_its_settings(tmp_path: Path) -> None:
    reports: list[int] = []

    def prepared(**settings: object) -> DigitsObjective:
        objective = DigitsObjective(width=16, training_steps=20, **settings)  # type: ignore[arg-type]
        objective.prepare(tmp_path, lambda done, *_: reports.append(done))
        return objective

    first = prepared().describe()
    assert reports == [20]
    assert prepared().describe() == first
    assert reports == [20]
    other = prepared(mask_ratio_distribution="beta", alpha=12, beta=3).describe()
    assert reports == [20, 20]
    assert other["checkpoint"] != first["checkpoint"]
    assert other["protocol"] == first["protocol"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"width": 0}, "width = 0"),
        ({"depth": 3}, "depth = 3"),
        ({"training_steps": 0}, "steps = 0"),
        ({"mask_ratio_distribution": "normal"}, "'normal' is unknown"),
        ({"mask_ratio_distribution": "beta", "alpha": -1.0, "beta": 3.0}, "alpha = -1.0"),
        ({"alpha": 2.0}, "alpha = 2.0 is not a parameter of the cosine distribution; it has: none"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        DigitsObjective(**settings)  # type: ignore[arg-type]


def test_too_few_images_for_the_covariance_is_said(trained: DigitsObjective) -> None:
    line = (
        "74 images are too few for the metric fid: with 74 features an image it needs at least 75"
    )
    with pytest.raises(ValueError, match=line):
        trained.evaluate(GenerationStrategy.maskgit(2), 74, 1)
