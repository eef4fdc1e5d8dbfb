"""The digits objective: a small NAT on scikit-learn's digits, measured on pixels and classes."""

from __future__ import annotations

import torch

from models.data.digits import CLASSES, LEVELS, SIDE, TOKENS, digits, tokens_to_images
from models.features.features import PixelsAndClasses
from models.generators.nat import NATConfig
from models.generators.nat_generator import NATGenerator
from models.metrics.metric import RealImages, load_metric, statistics_of
from models.threads import one_thread
from models.tokenizers.decoder import GreyLevels
from models.training.settings import TrainingSettings
from search.training_strategy import TrainingStrategy
from trials.objectives.nat_objective import NATObjective
from trials.objectives.nat_training import HELD_OUT, Examples, NATTraining
from trials.objectives.real_examples import RealExamples
from trials.objectives.yardstick import Yardstick

CHUNK = 100
"""Images generated at once: they fit a CPU's cache, and are a multiple of the classes."""


class DigitsObjective(NATObjective):
    """Trains a NAT on the digits, once, and measures strategies on it.

    Args:
        width: D, the width of the NAT, an even number.
        depth: its blocks besides the middle one.
        num_heads: its attention heads.
        training_steps: steps of training, each of 64 images.
        training_seed: of the weights and batches.
        mask_ratio_distribution: the name of a distribution in search.training_strategy.
        classes: "equal" numbers of each class, or "random" classes as in the paper, which makes
            the metric noisier.
        checkpoint: the hash of weights in the lab's store, to measure these in place of training.
        metric: fid, fid-infinity, fid-leading, kid, mmd, or your own (see models.metrics.metric).
        parameters: of the distribution, by name.

    Raises:
        ValueError: a setting is outside its range.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 2,
        num_heads: int = 2,
        training_steps: int = 1500,
        training_seed: int = 0,
        mask_ratio_distribution: str = "cosine",
        classes: str = "equal",
        checkpoint: str | None = None,
        metric: str = "fid",
        **parameters: float,
    ) -> None:
        config = NATConfig(LEVELS, TOKENS, CLASSES, width, depth, num_heads, dropout=0.0)
        settings = TrainingSettings(
            strategy=TrainingStrategy(mask_ratio_distribution, parameters),
            steps=training_steps,
            batch_size=64,
            learning_rate=6e-3,
            warmup_steps=100,
            betas=(0.9, 0.99),
            # With only 17 codes, smoothing of 0.1 would turn a tenth of all sampled tokens into
            # noise.
            label_smoothing=0.0,
            ema_decay=0.995,
            seed=training_seed,
        )
        generator = NATGenerator(config, GreyLevels(LEVELS, (SIDE, SIDE)))
        training = NATTraining(config, settings, examples)
        super().__init__(
            generator,
            yardstick(metric),
            training,
            dataset="scikit-learn digits, 1797 images of 8 x 8",
            conditions="",
            classes=classes,
            chunk=CHUNK,
            checkpoint=checkpoint,
        )

    def real_examples(self) -> RealExamples:
        """See `GeneratorObjective.real_examples`."""
        tokens, classes = digits()
        names = [str(digit) for digit in range(CLASSES)]
        return RealExamples(tokens.numpy(), classes.numpy(), names)


def yardstick(metric: str) -> Yardstick:
    """The yardstick of the digits: a metric on their pixels and classes.

    Raises:
        ValueError: the metric is unknown.
    """
    known = load_metric(metric)
    with one_thread():
        tokens, classes = digits()
        images = tokens_to_images(tokens)
        features = PixelsAndClasses.fit(images, classes)
        with torch.inference_mode():
            found = features(images)
        real = RealImages(statistics_of(found), found)
    told = {"resize": "none", "quantisation": "17 grey levels, the tokens themselves"}
    return Yardstick(features, real, metric=known, mean_image=images.mean(0), protocol=told)


def examples() -> Examples:
    """The digits as training examples, of which every tenth is held out."""
    tokens, classes = digits()
    held_out = torch.arange(len(tokens)) % HELD_OUT == 0
    return Examples(
        "digits",
        (tokens, classes),
        (tokens[~held_out], classes[~held_out]),
        (tokens[held_out], classes[held_out]),
    )
