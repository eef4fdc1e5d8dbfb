"""Measures strategies on a NAT that the objective trains itself, or takes from a lab's store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from models.generators.nat import NAT
from models.generators.nat_generator import NATGenerator
from models.training.checkpoints import stored_folder
from models.training.masked_loss import WHOLE, Share
from search.progress import Report
from search.training_strategy import TrainingStrategy
from trials.objectives.generating import Generating
from trials.objectives.generator_objective import GeneratorObjective
from trials.objectives.nat_training import NATTraining
from trials.objectives.objective import Trained
from trials.objectives.yardstick import Yardstick


class NATObjective(GeneratorObjective[NATGenerator]):
    """A `GeneratorObjective` whose NAT has no weights before `prepare`, and that can train others.

    Args:
        generator: the NAT, without weights.
        yardstick: measures its images.
        training: trains NATs of these sizes.
        published: gives weights to measure, in place of training any.
        checkpoint: hash of weights in the lab's store to measure, in place of both.
        more: see `GeneratorObjective`.

    Raises:
        ValueError: a setting outside its range.
    """

    def __init__(
        self,
        generator: NATGenerator,
        yardstick: Yardstick,
        training: NATTraining,
        *,
        published: Callable[[], NAT] | None = None,
        checkpoint: str | None = None,
        **more: Any,
    ) -> None:
        if checkpoint is not None:
            stored_folder(Path(), checkpoint)
        super().__init__(generator, yardstick, **more)
        self._training, self._strategy = training, training.settings.strategy
        self._published, self._checkpoint = published, checkpoint

    @property
    def batch_size(self) -> int:
        """Images of a training step."""
        return self._training.settings.batch_size

    def prepare(self, lab: Path, report: Report, share: Share = WHOLE) -> None:
        """Load the published weights, or train the NAT, or load it from the lab where these
        settings were trained before.

        Of several workers that train together each does this with a share; the first writes.
        """
        if self._checkpoint is not None:
            nat, self._strategy = self._training.stored(lab, self._checkpoint)
        elif self._published is not None:
            nat = self._published()
        else:
            nat = self._training.prepared(lab, report, share)
        self._generating = self._with_weights(nat)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`; known without weights."""
        generator = self._generating.generator
        if not generator.loaded:
            return self._described(None, None)
        return self._described(generator.hash(), self._strategy.to_json())

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """See `Trains.training_key`."""
        return self._training.key(strategy, seed)

    def train(
        self,
        strategy: TrainingStrategy,
        seed: int,
        rungs: tuple[int, ...],
        folder: Path,
        lab: Path,
        start: str | None,
    ) -> Iterator[Trained]:
        """See `Trains.train`. Every tenth image is held out for the validation loss."""
        for made in self._training.in_rungs(strategy, seed, rungs, folder, lab, start):
            # The training goes on with weights of its own.
            objective = self._on(copy.deepcopy(made.nat), strategy)
            yield Trained(objective, made.validation_loss, made.seconds, made.checkpoint)

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Self:
        """See `Trains.with_checkpoint`.

        Raises:
            ValueError: there is none, or it is of another network.
        """
        return self._on(*self._training.stored(lab, checkpoint))

    def _on(self, nat: NAT, strategy: TrainingStrategy) -> Self:
        """This objective on other weights, and what they were trained with."""
        found = copy.copy(self)
        found._generating, found._strategy = self._with_weights(nat), strategy
        return found

    def _with_weights(self, nat: NAT) -> Generating[NATGenerator]:
        return self._generating.with_generator(self._generating.generator.with_weights(nat))
