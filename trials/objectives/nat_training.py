"""How the NAT of an objective is trained, and where its weights are kept.

A lab's folder `models` holds what the settings of objectives trained, by a hash of the settings;
its store, the folder `weights`, what searches of training strategies trained, by its own hash.
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
"""Trainings of a search hold out every tenth image."""


@dataclass(frozen=True)
class Examples:
    """What a NAT is trained on.

    Attributes:
        name: of the data, as part of the key of what was trained on them.
        whole: tokens [N, L] in [0, K) and conditions [N, ...], for a model that is not searched.
        training: what a search's trainings see of them.
        held_out: what they do not see.
    """

    name: str
    whole: tuple[Rows, Rows]
    training: tuple[Rows, Rows]
    held_out: tuple[Rows, Rows]


@dataclass(frozen=True)
class TrainedNAT:
    """What a training made so far.

    Attributes:
        nat: the weights, which change with the next rung.
        validation_loss: on examples that it was not trained on.
        seconds: of training, all of it so far.
        checkpoint: hash of its weights, once they are stored; None before the last rung.
    """

    nat: NAT
    validation_loss: float
    seconds: float
    checkpoint: str | None


@dataclass(frozen=True)
class NATTraining:
    """Trains NATs of one size on the same examples. It travels to workers by pickle.

    Attributes:
        config: sizes of the NAT.
        settings: how it is trained; a search of training strategies replaces strategy, seed and
            steps.
        examples: gives what it is trained on, when that is needed.
        null_context: states of no text [C, E], of a NAT that takes texts.
    """

    config: NATConfig
    settings: TrainingSettings
    examples: Callable[[], Examples]
    null_context: Tensor | None = None

    def prepared(self, lab: Path, report: Report, share: Share = WHOLE) -> NAT:
        """The NAT of these settings: trained, or loaded from the lab where it was trained before.

        Of several workers that train together each does this with a share; the first writes.
        """
        examples = self.examples()
        key = self._key(examples.name, self.settings)
        folder = lab / "models" / settings_hash(key)
        if (folder / WEIGHTS).exists():
            return load_nat_folder(folder)
        # A small network gains nothing from threads, and loses much beside other work.
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
        """All that decides the weights, beside where they start and the steps; JSON values."""
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
        """Train, and stop at each number of steps in `rungs`; every tenth image is held out for
        the validation loss. The arguments are those of `Trains.train`."""
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
        """Weights from the lab's store, by their hash, and what they were trained with.

        Raises:
            ValueError: there are none, or they are of another network.
        """
        folder = stored_folder(lab, checkpoint)
        nat = load_nat_folder(folder)
        self.check_network(nat.config, f"checkpoint {checkpoint[:15]}…")
        return nat, TrainingStrategy.from_json(read_settings(folder)["strategy"])

    def check_network(self, config: NATConfig, where: str) -> None:
        """Refuse weights of another network.

        Args:
            config: their sizes.
            where: they lie.

        Raises:
            ValueError: a size differs; all that do are named.
        """
        theirs, ours = config.to_json(), self.config.to_json()
        differing = [
            f"{name} = {theirs.get(name)}, not {ours.get(name)}"
            for name in dict.fromkeys([*theirs, *ours])
            # What is dropped in training is not of the weights.
            if theirs.get(name) != ours.get(name) and name != "dropout"
        ]
        if differing:
            raise ValueError(f"{where} is of another network: {', '.join(differing)}")

    def _key(self, data: str, settings: TrainingSettings) -> dict[str, Any]:
        return {"data": data, "config": self.config.to_json(), "training": asdict(settings)}
