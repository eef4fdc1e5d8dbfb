"""Scored images: the images that an evaluation measures."""

from __future__ import annotations

import pytest

from docs.extending.captioned import CaptionedObjective
from models.metrics.frechet import Statistics, frechet_distance
from models.schedule_descent import Descent, point_of
from search.strategy import GenerationStrategy
from trials.objectives.digits import DigitsObjective
from trials.objectives.scored import Scores

FOUR = GenerationStrategy.maskgit(4)
N = 130


def test_scored_images_are_those_that_an_evaluation_measures(trained: DigitsObjective) -> None:
    assert isinstance(trained, Scores)
    found = trained.scored_images(FOUR, N, 5)
    features = found.features
    fake = Statistics(features.mean(0), features.T.cov(), N)
    fid = float(frechet_distance(trained.real_statistics, fake))
    assert fid == pytest.approx(trained.evaluate(FOUR, N, 5).value)
    assert found.scores.shape == (N, len(point_of(FOUR))) == (N, 11)
    assert found.scores.isfinite().all()
    assert found.forecasts.shape == (4, *features.shape)
    assert found.classes.tolist() == [i % 10 for i in range(N)]


def test_a_descent_moves_a_generator_of_ones_own() -> None:
    objective = CaptionedObjective()
    descent = Descent(FOUR, objective.real_statistics)
    for seed in range(2):
        descent.tell(objective.scored_images(descent.strategy, 100, seed))
    assert descent.strategy != FOUR
    assert descent.strategy.mask_ratio == FOUR.mask_ratio
