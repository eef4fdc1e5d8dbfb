"""Trains the NAT of an objective, and keeps its weights.

The folder `models` of a lab holds the weights that objectives trained in `prepare`, by a hash of
their settings. The folder `weights`, the lab's store, holds those that searches of training
strategies trained, by a hash of the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from models.generators.nat import NAT, NATConfig
from models.threads import one_thread
from models.training.checkpoints import (
    WEIGHTS,
    load_nat_folder,
    read_settings,
    save_nat,
    settings_hash,
    store_nat,
    stored_folder,
)
from models.training.masked_loss import WHOLE, Share, validation_loss
from models.training.rows import Rows
from models.training.settings import TrainingSettings
from models.training.training import train, train_in_rungs
from search.progress import Report
from search.training_strategy import TrainingStrategy

HELD_OUT = 10
"""The trainings of a search hold out every tenth image."""


@dataclass(frozen=True)
class Examples:
    """What a NAT is trained on.

    Attributes:
        name: identifies the data in the key of what was trained on them.
        whole: all tokens [N, L] in [0, K) and conditions [N, ...], for a model that is not
            searched.
        training: the part on which the trainings of a search train.
        held_out: the other part, on which their validation loss is computed.
    """

    name: str
    whole: tuple[Rows, Rows]
    training: tuple[Rows, Rows]
    held_out: tuple[Rows, Rows]


@dataclass(frozen=True)
class TrainedNAT:
    """A NAT after some of its training.

    Attributes:
        nat: the NAT, whose weights change with the next rung.
        validation_loss: on examples that it was not trained on.
        seconds: of the whole training up to here.
        checkpoint: the hash of its weights, once they are stored; None before the last rung.
    """

    nat: NAT
    validation_loss: float
    seconds: float
    checkpoint: str | None


@dataclass(frozen=True)
class NATTraining:
    """Trains NATs of the same sizes on the same examples. It is sent to workers by pickle.

    Attributes:
        config: the sizes of the NAT.
        settings: of the training; a search of training strategies replaces its strategy, seed and
            steps.
        examples: returns the examples when they are needed.
        null_context: the states of the empty text [C, E], for a NAT that takes texts.
    """

    config: NATConfig
    settings: TrainingSettings
    examples: Callable[[], Examples]
    null_context: Tensor | None = None

    def prepared(self, lab: Path, report: Report, share: Share = WHOLE) -> NAT:
        """The NAT of these settings, trained now or loaded from the lab if it was trained before.

        Of several workers that train together, each calls this with its share of the batch, and the
        first one writes.
        """
        examples = self.examples()
        key = self._key(examples.name, self.settings)
        folder = lab / "models" / settings_hash(key)
        if (folder / WEIGHTS).exists():
            return load_nat_folder(folder)
        # Threads do not speed up a small network, and slow it down beside other work.
        with one_thread():
            nat = train(
                self.config,
                self.settings,
                *examples.whole,
                folder,
                report,
                self.null_context,
                share,
            )
        if share.rank == 0:
            save_nat(folder, nat, key)
        return nat.cpu()

    def key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """Everything that decides the weights, except where they start and the steps; JSON
        values."""
        settings = replace(self.settings, strategy=strategy, seed=seed)
        key = self._key(f"{self.examples().name}, every {HELD_OUT}th held out", settings)
        del key["training"]["steps"]
        return key

    def in_rungs(
        self,
        strategy: TrainingStrategy,
        seed: int,
        rungs: tuple[int, ...],
        folder: Path,
        lab: Path,
        start: str | None,
    ) -> Iterator[TrainedNAT]:
        """Train, and yield the NAT at each number of steps in `rungs`.

        Every tenth image is held out for the validation loss. The arguments are those of
        `Trains.train`.
        """
        settings = replace(self.settings, strategy=strategy, seed=seed, steps=rungs[-1])
        examples = self.examples()
        models = train_in_rungs(
            self.config,
            settings,
            *examples.training,
            folder,
            lambda *_: None,
            rungs,
            None if start is None else self.stored(lab, start)[0],
            self.null_context,
        )
        seconds = 0.0
        for steps in rungs:
            started = time.perf_counter()
            with one_thread():
                nat = next(models)
                loss = validation_loss(nat, *examples.held_out)
            seconds += time.perf_counter() - started
            checkpoint = None
            if steps == rungs[-1]:
                key = {**self.key(strategy, seed), "steps": steps, "start": start}
                checkpoint = store_nat(lab, nat, {**key, "strategy": strategy.to_json()})
            yield TrainedNAT(nat, loss, seconds, checkpoint)

    def stored(self, lab: Path, checkpoint: str) -> tuple[NAT, TrainingStrategy]:
        """Load weights from the lab's store, with the strategy that they were trained with.

        Raises:
            ValueError: there are no weights of that hash, or they are of another network.
        """
        folder = stored_folder(lab, checkpoint)
        nat = load_nat_folder(folder)
        self.check_network(nat.config, f"checkpoint {checkpoint[:15]}…")
        return nat, TrainingStrategy.from_json(read_settings(folder)["strategy"])

    def check_network(self, config: NATConfig, where: str) -> None:
        """Refuse weights of another network.

        Args:
            config: the sizes of that network.
            where: the place of the weights, for the error line.

        Raises:
            ValueError: sizes differ; all of them are named.
        """
        theirs, ours = config.to_json(), self.config.to_json()
        differing = [
            f"{name} = {theirs.get(name)}, not {ours.get(name)}"
            for name in dict.fromkeys([*theirs, *ours])
            # Dropout in training does not change the shapes of the weights.
            if theirs.get(name) != ours.get(name) and name != "dropout"
        ]
        if differing:
            raise ValueError(f"{where} is of another network: {', '.join(differing)}")

    def _key(self, data: str, settings: TrainingSettings) -> dict[str, Any]:
        return {"data": data, "config": self.config.to_json(), "training": asdict(settings)}
