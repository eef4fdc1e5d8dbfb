"""The objective: what measures a strategy, and how a user's own plugs in.

An objective is found by a name: one that is built in or registered by a package under the entry
point group `autonat.objectives`, or `package.module:Class` of a user's own.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from search.measurement import Measurement, with_metric
from search.plugins import Registry
from search.progress import Report
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS, StrategyFile
from search.training_strategy import TrainingStrategy
from search.user_code import explained
from trials.objectives.typed_settings import typed_settings

OBJECTIVES: Registry[Any] = Registry(
    "objective",
    {
        "digits": "trials.objectives.digits:DigitsObjective",
        "images": "trials.objectives.images:ImagesObjective",
        "simulated": "trials.objectives.simulated:SimulatedObjective",
        "tabulated": "trials.objectives.tabulated:TabulatedObjective",
        "generator": "trials.objectives.generator_objective:NamedGeneratorObjective",
    },
)
"""The objectives' classes by name."""


class Objective(Protocol):
    """Measures generation strategies on one generator.

    Made by keyword settings, which must be JSON values and are checked at once. After `prepare`
    the instance is sent to the workers by pickle, so it holds whatever they need, and it moves
    itself to their device when it first measures.

    More methods are optional: `prepare(lab, report)`, called once in the driver before anything is
    measured (train, load, cache below the folder `lab`); `check(space, images)`, called before
    that, which refuses what it could not measure; `sample(strategy, images, seed)`, which returns
    uint8 images [n, H, W] or [n, H, W, 3] for reports; `evaluate_growing(strategy, rungs,
    seed)`, which measures at growing n and generates only what each adds; and `anchors(images)`,
    which says what real images have, and one image for ever. `heeds` names the choices and added
    schedules of a strategy that it looks at.
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
class Heeds(Protocol):
    """An objective that knows more of a strategy than its four standard schedules."""

    heeds: Collection[str]
    """Names of the choices and added schedules (search.choices, search.schedules) that `evaluate`
    looks at. A strategy that has any other is refused rather than measured as if it had not."""


def require_heeded(objective: object, beyond: Mapping[str, str]) -> None:
    """Refuse what an objective would pass over.

    Args:
        objective: that is to measure.
        beyond: what it is to heed, by name, each in words (`GenerationStrategy.beyond`).

    Raises:
        ValueError: something that its `heeds` does not name.
    """
    heeds = objective.heeds if isinstance(objective, Heeds) else ()
    for name, words in beyond.items():
        if name not in heeds:
            raise ValueError(
                f"{type(objective).__name__} does not know {name}, so it cannot measure a strategy "
                f"with {words}"
            )


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


def sampled(
    objective: Samples, strategy: GenerationStrategy, images: int, seed: int
) -> npt.NDArray[np.uint8]:
    """What an objective's `sample` returns, seen to be images.

    Raises:
        ValueError: it is something else.
    """
    require_heeded(objective, strategy.beyond())
    found = objective.sample(strategy, images, seed)
    told = type(found).__name__
    if isinstance(found, np.ndarray):
        pictures = found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 3)
        if found.dtype == np.uint8 and found.size and pictures:
            return found
        told = f"{found.dtype} {list(found.shape)}"
    raise ValueError(f"sample returned {told}, not a numpy array uint8 [n, H, W] or [n, H, W, 3]")


@runtime_checkable
class Anchors(Protocol):
    """An objective that knows what a number of its own is worth."""

    def anchors(self, images: int) -> Mapping[str, float]:
        """What needs no generator, under the very features and statistics of `evaluate`; asked
        once a search, in the driver.

        Returns:
            FID of REAL_IMAGES, `images` of them drawn anew: no generator can be expected below;
            and of CONSTANT_IMAGE, one and the same again and again: none should be above. What is
            not known is left out.
        """


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


OPTIONAL = (Prepares, Checks, Grows, Samples, Anchors, Trains)
"""What an objective may have beside `Objective`."""


def load_objective(name: str, settings: Mapping[str, Any]) -> Objective:
    """The objective of that name, made with these settings.

    Raises:
        ValueError: an unknown name (the known ones are listed), a module or class that does not
            import, a class that lacks a method or has one of another signature, a setting that it
            does not have or refuses.
    """
    made_by = OBJECTIVES.load(name)
    _require_methods(name, made_by)
    try:
        inspect.signature(made_by).bind(**settings)
    except TypeError as error:
        raise ValueError(f"objective {name}: {error}") from None
    values = typed_settings(f"objective {name}", made_by, settings)
    with explained(f"objective {name}, when it is made", made_by):
        objective = made_by(**values)
    return accepted(name, objective)


def accepted(name: str, objective: Any) -> Objective:
    """An objective that somebody made, seen to have what is asked of one.

    Args:
        name: of it, for errors.
        objective: it.

    Raises:
        ValueError: it lacks a method, has one of another signature, or its tokens are no number.
    """
    _require_methods(name, objective)
    tokens = getattr(objective, "tokens", None)
    if isinstance(tokens, bool) or not isinstance(tokens, Integral) or tokens < 1:
        raise ValueError(f"objective {name}: tokens = {tokens!r} is not a positive integer")
    _check_signatures(name, objective)
    found: Objective = objective
    return found


def _require_methods(name: str, of: object) -> None:
    for method in ("evaluate", "describe"):
        if not callable(getattr(of, method, None)):
            raise lacks_method(name, method)


def lacks_method(name: str, method: str, why: str = "") -> ValueError:
    """The error of an objective without a method that is needed.

    Args:
        name: of the objective.
        method: that it lacks.
        why: ends the line: what needs the method.
    """
    return ValueError(f"objective {name} lacks the method {method}{why}")


def _check_signatures(name: str, objective: object) -> None:
    """Each method that we may call takes what the protocols above say."""
    for protocol in (Objective, *(p for p in OPTIONAL if isinstance(objective, p))):
        for method, wanted in vars(protocol).items():
            own = getattr(objective, method, None)
            if method.startswith("_") or not inspect.isfunction(wanted) or not callable(own):
                continue
            parameters = list(inspect.signature(wanted).parameters)[1:]
            try:
                signature = inspect.signature(own)
            except ValueError:  # not written in Python
                continue
            try:
                signature.bind(*parameters)
            except TypeError:
                raise ValueError(
                    f"objective {name}: its method is {method}{_plain_signature(signature)}, where "
                    f"{method}({', '.join(parameters)}) is called"
                ) from None


def _plain_signature(signature: inspect.Signature) -> str:
    """Without types."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def describe(name: str, settings: Mapping[str, Any], objective: Objective) -> dict[str, Any]:
    """An objective's description with every field of the strategy file; what it leaves out is
    null.

    Returns:
        A dict of JSON values with the keys objective, training and protocol.

    Raises:
        ValueError: it describes itself in something else than JSON values, or in other fields than
            those of a strategy file.
    """
    with explained(f"objective {name}, in describe()", type(objective)):
        said = objective.describe()
    if not isinstance(said, Mapping):
        raise ValueError(f"objective {name}: describe() returned {said!r}, not a dict")
    told = {key: plain_json(f"objective {name}: its {key}", said[key]) for key in said}
    told_of_fid = told.get("protocol") or {}
    protocol = told_of_fid if isinstance(told_of_fid, dict) else {"": told_of_fid}
    unknown = [key for key in protocol if key not in PROTOCOL_FIELDS]
    if unknown:
        raise ValueError(
            f"objective {name}: its protocol has the unknown field {unknown[0]!r}; "
            f"known: {', '.join(PROTOCOL_FIELDS)}"
        )
    described = {
        "objective": {
            "name": name,
            "settings": plain_json(f"objective {name}: its setting", dict(settings)),
            "dataset": told.get("dataset"),
            "checkpoint": told.get("checkpoint"),
            "tokens": int(objective.tokens),
            "flops": told.get("flops"),
        },
        "training": told.get("training"),
        "protocol": dict.fromkeys(PROTOCOL_FIELDS) | with_metric(protocol),
    }
    try:  # or the strategy files of a whole search could not be read in the end
        StrategyFile.from_json(StrategyFile(GenerationStrategy.maskgit(1)).to_json() | described)
    except ValueError as error:
        raise ValueError(f"objective {name}: it describes itself with {error}") from None
    return described


def plain_json(what: str, value: Any) -> Any:
    """A value as JSON has it: paths become text; arrays and tensors, lists; scalars, numbers.

    Raises:
        ValueError: there is no such form; `what` is named.
    """
    if isinstance(value, Path):
        return str(value)
    if callable(as_list := getattr(value, "tolist", None)):
        value = as_list()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(f"{what}.{key}", part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(f"{what}[{i}]", part) for i, part in enumerate(value)]
    raise ValueError(f"{what} = {repr(value)[:80]} is not a JSON value")
