"""The objective: what measures a strategy, and how a user's own plugs in.

An objective is found by a name: one that is built in or registered by a package under the entry
point group `autonat.objectives`, or `package.module:Class` of a user's own.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from search.ledger import amount_asked
from search.measurement import Failure, Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS
from search.training_strategy import TrainingStrategy

ENTRY_POINT_GROUP = "autonat.objectives"

Report = Callable[[int, int, str], None]
"""Called with (done, total, message) while something long runs."""


class Objective(Protocol):
    """Measures generation strategies on one generator.

    Made by keyword settings, which must be JSON values and are checked at once. After `prepare`
    the instance is sent to the workers by pickle, so it holds whatever they need, and it moves
    itself to their device when it first measures.

    More methods are optional: `prepare(lab, report)`, called once in the driver before anything is
    measured (train, load, cache below the folder `lab`); `check(space, images)`, called before
    that, which refuses what it could not measure; `sample(strategy, images, seed)`, which returns
    uint8 images [n, H, W] or [n, H, W, 3] for reports; and `evaluate_growing(strategy, rungs,
    seed)`, which measures at growing n and generates only what each adds.
    """

    tokens: int
    """L, the tokens of an image; a strategy has at most L steps. Known without `prepare`."""

    def describe(self) -> Mapping[str, Any]:
        """What was measured, as JSON values, after `prepare`.

        Returns:
            Any of the keys dataset (a name), checkpoint (a hash), training (a TrainingStrategy's
            JSON), protocol (how FID is computed, see PROTOCOL_FIELDS) and flops (floating-point
            operations of one image: {"pass": of a forward pass, "decode": of tokens to pixels}).
        """

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """Generate `images` images and measure them. Same strategy, n and seed on the same
        device: same number; all randomness derives from `seed` in [0, 2**32).

        Raises:
            Exception: whatever goes wrong; the evaluation counts as failed and the search goes on.
        """


@runtime_checkable
class Prepares(Protocol):
    """An objective with something to do before the first evaluation."""

    def prepare(self, lab: Path, report: Report) -> None:
        """Train, load, cache below the folder `lab`."""


@runtime_checkable
class Checks(Protocol):
    """An objective that cannot measure every search."""

    def check(self, space: Space, images: int) -> None:
        """Known without `prepare`.

        Raises:
            ValueError: it cannot measure the strategies of that space, or with so few images.
        """


@runtime_checkable
class Grows(Protocol):
    """An objective that measures at growing n."""

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """One measurement at each n of `rungs`, which grow; images of a rung are kept for the
        next, and nothing is generated before it is asked for. The last equals `evaluate`'s."""


@runtime_checkable
class Samples(Protocol):
    """An objective that can show its images."""

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """Images [n, H, W] or [n, H, W, 3]."""


@dataclass(frozen=True)
class Trained:
    """A model that a training made.

    Attributes:
        objective: measures it.
        validation_loss: on images that it was not trained on, or None.
        seconds: of training, all of it so far.
        checkpoint: hash of its weights, once they are stored; None before the last rung.
    """

    objective: Objective
    validation_loss: float | None
    seconds: float
    checkpoint: str | None


TRAINED_BY = {"mask_ratio_distribution", "training_steps", "training_seed"}
"""Settings of objectives that train, beside the parameters of the distribution."""


@runtime_checkable
class Trains(Protocol):
    """An objective whose model can be trained under any training strategy.

    Its settings include `checkpoint`, the hash of stored weights that it measures, and
    TRAINED_BY with the parameters of a training strategy, for training another model alike.
    """

    tokens: int

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`; known without weights."""

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """All that decides the weights, beside where they start and the steps; JSON values."""

    def train(
        self,
        strategy: TrainingStrategy,
        seed: int,
        rungs: tuple[int, ...],
        folder: Path,
        lab: Path,
        start: str | None,
    ) -> Iterator[Trained]:
        """Train, and stop at each number of steps in `rungs`, which grow.

        Args:
            strategy: the mask ratios that the model sees.
            seed: of weights, batches and masks, in [0, 2**32).
            rungs: steps; the weights of the last go into the lab's store.
            folder: for checkpoints of the training; one that is there is gone on from.
            lab: the folder of the store.
            start: hash of stored weights to go on from, or None.

        Raises:
            ValueError: the training diverged; the stored weights are of another network.
        """

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Objective:
        """The objective on stored weights.

        Raises:
            ValueError: there are none of that hash.
        """


def load_objective(name: str, settings: Mapping[str, Any]) -> Objective:
    """The objective of that name, made with these settings.

    Raises:
        ValueError: an unknown name (the known ones are listed), a module or class that does not
            import, a class that lacks a method, a setting that it does not have or refuses.
    """
    made_by = _own_class(name) if ":" in name else _registered_class(name)
    for method in ("evaluate", "describe"):
        if not callable(getattr(made_by, method, None)):
            raise ValueError(f"objective {name} lacks the method {method}")
    try:
        inspect.signature(made_by).bind(**settings)
    except TypeError as error:
        raise ValueError(f"objective {name}: {error}") from None
    objective: Objective = made_by(**settings)
    tokens = getattr(objective, "tokens", None)
    if not isinstance(tokens, int) or tokens < 1:
        raise ValueError(f"objective {name}: tokens = {tokens!r} is not a positive integer")
    return objective


def registered_objectives() -> dict[str, EntryPoint]:
    """The objectives registered under the entry point group, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def user_module(name: str) -> Path | None:
    """The file or folder to send to the workers for an objective `package.module:Class`; None
    for one that an installed package provides."""
    if ":" not in name:
        return None
    top = name.partition(":")[0].partition(".")[0]
    file = getattr(sys.modules[top], "__file__", None)
    if file is None:
        raise ValueError(f"objective {name}: the package {top} has no __init__.py")
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path


def describe(name: str, settings: Mapping[str, Any], objective: Objective) -> dict[str, Any]:
    """An objective's description with every field of the strategy file; what it leaves out is
    null.

    Returns:
        A dict with the keys objective, training and protocol.
    """
    told = dict(objective.describe())
    protocol = dict(told.get("protocol") or {})
    unknown = [key for key in protocol if key not in PROTOCOL_FIELDS]
    if unknown:
        raise ValueError(
            f"objective {name}: its protocol has the unknown field {unknown[0]!r}; "
            f"known: {', '.join(PROTOCOL_FIELDS)}"
        )
    return {
        "objective": {
            "name": name,
            "settings": dict(settings),
            "dataset": told.get("dataset"),
            "checkpoint": told.get("checkpoint"),
            "tokens": objective.tokens,
            "flops": told.get("flops"),
        },
        "training": told.get("training"),
        "protocol": {field: protocol.get(field) for field in PROTOCOL_FIELDS},
    }


@runtime_checkable
class Measures(Protocol):
    """Whatever measures whole probes, what they train included, in place of an objective."""

    def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
        """A measurement at each rung; rungs grow, and the last is what the probe asks for."""


def evaluate_probe(objective: Objective | Measures, probe: Probe) -> Measurement | Failure:
    """Measure a probe; whatever goes wrong becomes a Failure with its reason."""
    *_, last = grow_probe(objective, probe, (amount_asked(probe),))
    return last


def grow_probe(
    objective: Objective | Measures, probe: Probe, rungs: tuple[int, ...]
) -> Iterator[Measurement | Failure]:
    """Measure a probe at growing n, or after growing training; a Failure is the last."""
    measurements = _measurements(objective, probe, rungs)
    for _ in rungs:
        result = _guarded(lambda: next(measurements))
        yield result
        if isinstance(result, Failure):
            return


def _measurements(
    objective: Objective | Measures, probe: Probe, rungs: tuple[int, ...]
) -> Iterator[Measurement]:
    if isinstance(objective, Measures):
        yield from objective.measure(probe, rungs)
    elif len(rungs) > 1 and isinstance(objective, Grows):
        yield from objective.evaluate_growing(probe.strategy, rungs, probe.seed)
    else:
        yield objective.evaluate(probe.strategy, probe.images, probe.seed)


def _guarded(measure: Callable[[], Measurement]) -> Measurement | Failure:
    started = time.perf_counter()
    try:
        found = measure()
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0][:500])
    if not isinstance(found, Measurement):
        return Failure(f"evaluate returned {type(found).__name__}, not a Measurement")
    if not math.isfinite(found.fid):
        return Failure(f"FID = {found.fid} after {time.perf_counter() - started:.1f} s")
    return found


def _registered_class(name: str) -> Any:
    known = registered_objectives()
    if name not in known:
        raise ValueError(
            f"unknown objective {name!r}; known: {', '.join(sorted(known))}, "
            "or package.module:Class of your own"
        )
    return known[name].load()


def _own_class(name: str) -> Any:
    module_name, _, class_name = name.partition(":")
    # Last in the path: a user's folder may hold a package called models, and ours must win.
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"objective {name}: {error}") from None
    if not isinstance(getattr(module, class_name, None), type):
        raise ValueError(f"objective {name}: {module_name} has no class {class_name!r}")
    return getattr(module, class_name)
