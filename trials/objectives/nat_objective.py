"""Measures strategies on a NAT that the objective trains, or loads from a lab's store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from models.generators.generator import MaskedGenerator
from models.generators.nat import NAT
from models.generators.nat_generator import NATGenerator
from models.training.checkpoints import require_checkpoint
from models.training.masked_loss import WHOLE, Share
from search.progress import Report
from search.training_strategy import TrainingStrategy
from trials.objectives.generating import Generating
from trials.objectives.generator_objective import GeneratorObjective
from trials.objectives.nat_training import NATTraining
from trials.objectives.objective import Trained
from trials.objectives.yardstick import Yardstick


class NATObjective(GeneratorObjective[MaskedGenerator]):
    """A `GeneratorObjective` whose NAT gets its weights in `prepare`, and that can train others.

    It also measures a generator that has its weights, of any family, and then trains none.

    Args:
        generator: the NAT, without weights; or a generator with its weights.
        yardstick: measures its images.
        training: trains NATs of these sizes; None for a generator that has its weights.
        published: returns published weights, to measure these in place of training.
        checkpoint: the hash of weights in the lab's store, to measure these in place of both.
        more: the other arguments of `GeneratorObjective`.

    Raises:
        ValueError: a setting is outside its range.
    """

    def __init__(
        self,
        generator: MaskedGenerator,
        yardstick: Yardstick,
        training: NATTraining | None,
        *,
        published: Callable[[], NAT] | None = None,
        checkpoint: str | None = None,
        **more: Any,
    ) -> None:
        if checkpoint is not None:
            require_checkpoint(checkpoint)
        super().__init__(generator, yardstick, **more)
        self._given_training = training
        self._strategy = None if training is None else training.settings.strategy
        self._published, self._checkpoint = published, checkpoint

    @property
    def _training(self) -> NATTraining:
        """Trains NATs of these sizes.

        Raises:
            ValueError: the generator has its weights.
        """
        if self._given_training is None:
            raise ValueError(
                "training: expected a NAT and data to train it on; weights that are given as "
                "KIND:PATH are measured as they are"
            )
        return self._given_training

    @property
    def batch_size(self) -> int:
        """Images of each training step."""
        return self._training.settings.batch_size

    def prepare(self, lab: Path, report: Report, share: Share = WHOLE) -> None:
        """Load the published weights, or train the NAT, or load it from the lab if it was trained.

        Of several workers that train together, each calls this with its share of the batch, and the
        first one writes.
        """
        if self._given_training is None:
            return
        if self._checkpoint is not None:
            nat, self._strategy = self._training.stored(lab, self._checkpoint)
        elif self._published is not None:
            nat = self._published()
        else:
            nat = self._training.prepared(lab, report, share)
        self._generating = self._with_weights(nat)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`. It is known without weights."""
        generator = self._generating.generator
        if isinstance(generator, NATGenerator) and not generator.loaded:
            return self._described(None, None)
        strategy = None if self._strategy is None else self._strategy.to_json()
        return self._described(generator.hash(), strategy)

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
            # The training continues with its own weights, so they are copied.
            objective = self._measuring(copy.deepcopy(made.nat), strategy)
            yield Trained(objective, made.validation_loss, made.seconds, made.checkpoint)

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Self:
        """See `Trains.with_checkpoint`.

        Raises:
            ValueError: there are no such weights, or they are of another network.
        """
        return self._measuring(*self._training.stored(lab, checkpoint))

    def _measuring(self, nat: NAT, strategy: TrainingStrategy) -> Self:
        """A copy that measures other weights, which were trained with this strategy."""
        found = self._alike()
        found._generating, found._strategy = self._with_weights(nat), strategy
        return found

    def _with_weights(self, nat: NAT) -> Generating[MaskedGenerator]:
        generator = self._generating.generator
        if not isinstance(generator, NATGenerator):
            raise TypeError(f"expected a NAT, got {type(generator).__name__}")
        return self._generating.with_generator(generator.with_weights(nat))
