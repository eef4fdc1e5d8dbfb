"""The schedules of a generation strategy as data: what each one is, and how T changes it.

Four are standard: every generator decodes with them, and a search looks for them unless it is told
otherwise. A package adds its own with `register`, or under the entry point group
`autonat.schedules`:

    register(
        Schedule(
            name="noise_scale",
            about="the scale of the noise that my generator adds to its logits",
            rule_of_thumb=lambda steps: (1.0,) * steps,
            bound=lambda steps: Bound(0.1, 10.0, log=True),
        )
    )

Such a schedule follows its rule of thumb wherever a strategy does not say otherwise, so that rule
has to mean what a generator does that does not know the schedule. It is searched where a search
gives it bounds, and measured by objectives that name it (`trials.objectives.objective`).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from search.bound import Bound, Vector
from search.plugins import Registry
from search.user_code import own_code


@dataclass(frozen=True)
class Schedule:
    """One list of numbers of a strategy, a value a step.

    Attributes:
        name: in code, flags, files, MLflow and Optuna; an identifier.
        about: what its values do, in a few words.
        rule_of_thumb: from T to its values, as many as `length`; where a search starts.
        bound: from T to the range that a search looks in.
        last_step: whether the last step has a value: T values, else T - 1.
        at_end: whether value t belongs to the end of step t, time (t + 1)/T, or to its beginning,
            time t/T. Where the curve is read off at another T.
        below: values are less than it.
        masks: it is the share of the tokens that stay masked. It falls from 1 at time 0 to 0 at
            time 1, and decoding makes whole tokens of it. Only `mask_ratio` is.
        standard: see the top of this module.
    """

    name: str
    about: str
    rule_of_thumb: Callable[[int], Sequence[float]]
    bound: Callable[[int], Bound]
    last_step: bool = True
    at_end: bool = True
    below: float = math.inf
    masks: bool = False
    standard: bool = False

    def length(self, steps: int) -> int:
        """How many values it has at T = `steps`."""
        return steps if self.last_step else steps - 1

    def times(self, steps: int) -> Vector:
        """When its values apply, in [0, 1] from the first step to the last; [length]."""
        line = np.arange(steps + 1) / steps
        return line[1:][: self.length(steps)] if self.at_end else line[: self.length(steps)]

    def read_off(self, values: Sequence[float], steps: int, other: int) -> tuple[float, ...]:
        """The same curve at another T, by linear interpolation over its times; beyond its ends it
        is held constant.

        Args:
            values: at T = `steps`; where there are none, the rule of thumb stands in.
            steps: T.
            other: the other T.
        """
        if not len(values):
            return tuple(self.rule_of_thumb(other))
        times, known = self.times(steps), np.asarray(values, dtype=np.float64)
        if self.masks:
            times, known = np.r_[0.0, times, 1.0], np.r_[1.0, known, 0.0]
        return tuple(np.interp(self.times(other), times, known))

    @property
    def range_text(self) -> str:
        """Its legal values, for error lines."""
        return f"outside [0, {self.below:g})" if self.below < math.inf else "negative"


def _cosine(steps: int) -> Sequence[float]:
    return tuple(np.cos(np.linspace(0, 1, steps + 1) * math.pi / 2)[1:-1])


def _falling(steps: int) -> Sequence[float]:
    return tuple((1 - np.linspace(0, 1, steps + 1))[:-2])


def _rising(steps: int) -> Sequence[float]:
    return tuple(np.linspace(0, 1, steps + 1)[1:])


# Where T is so large that the rule of thumb, whose lowest remask temperature is 2/T and whose
# highest mask ratio about 1 - 1.23/T**2, would lie outside, the bounds are wider.
_STANDARD = (
    Schedule(
        "mask_ratio",
        "the share of the tokens that stay masked after a step",
        _cosine,
        lambda steps: Bound(0.0, max(1 - 1e-6, 1 - 1 / steps**2)),
        last_step=False,
        below=1.0,
        masks=True,
        standard=True,
    ),
    Schedule(
        "remask_temperature",
        "the scale of the Gumbel noise on the confidences",
        _falling,
        # A ratio of scales, and good schedules reach far above the rule of thumb's 1: hence log.
        lambda steps: Bound(0.01 if steps <= 200 else 1 / steps, 30.0, log=True),
        last_step=False,
        at_end=False,
        standard=True,
    ),
    Schedule(
        "sampling_temperature",
        "what divides the logits that tokens are sampled from",
        lambda steps: (1.0,) * steps,
        lambda steps: Bound(0.2, 4.0, log=True),
        at_end=False,
        standard=True,
    ),
    Schedule(
        "guidance_scale",
        "s in cond + s * (cond - uncond)",
        _rising,
        lambda steps: Bound(0.0, 4.0),
        standard=True,
    ),
)


_PACKAGES: Registry[Schedule] = Registry("schedule", {})
"""Those of installed packages."""


class _Schedules(Mapping[str, Schedule]):
    """The known schedules by name, in the order in which every vector, file and table lists them:
    the standard ones, then those of installed packages, then those registered in code."""

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self._known = {schedule.name: schedule for schedule in schedules}
        self._installed = False

    def __getitem__(self, name: str) -> Schedule:
        if name not in self._known:  # the standard ones are found without a look at packages
            self._load()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(tuple(self._known))

    def __len__(self) -> int:
        self._load()
        return len(self._known)

    def add(self, schedule: Schedule) -> None:
        """See `register`."""
        if not isinstance(schedule, Schedule):
            raise ValueError(f"expected a Schedule to register, got {type(schedule).__name__}")
        if not schedule.name.isidentifier():
            raise ValueError(f"the schedule's name {schedule.name!r} is not an identifier")
        if schedule.standard or schedule.masks:
            raise ValueError(f"schedule {schedule.name}: only our own are standard or mask tokens")
        known = self._known.get(schedule.name)
        if known is not None and known != schedule and known.about != schedule.about:
            raise ValueError(f"there is already a schedule named {schedule.name}: {known.about}")
        self._known[schedule.name] = schedule

    def _load(self) -> None:
        if self._installed:
            return
        self._installed = True  # first: a package that is loaded may look at the schedules
        for name in _PACKAGES.names():
            try:
                self.add(_PACKAGES.load(name))
            except ValueError as error:  # a broken package must not stop searches without it
                warnings.warn(f"the schedule {name} is left out: {error}", stacklevel=2)


_REGISTERED = _Schedules(_STANDARD)
SCHEDULES: Mapping[str, Schedule] = _REGISTERED
"""All known schedules by name; see `register`."""
STANDARD: Mapping[str, Schedule] = MappingProxyType({s.name: s for s in _STANDARD})
"""The four that every generator decodes with, in their order."""


def register(schedule: Schedule) -> Schedule:
    """Make a schedule known; the same one may be registered again.

    Raises:
        ValueError: a name that is taken or no identifier, or one that claims to be standard.
    """
    _REGISTERED.add(schedule)
    return schedule


def seek_schedules(names: Iterable[str], objective: Any) -> None:
    """Import somebody's own objective where one of the names is no known schedule: its module may
    register it. What does not import is left to whoever reads on, and names the unknown schedule.

    Args:
        names: of schedules, as a file or a record has them.
        objective: `package.module:Class`, or a registered name, which changes nothing.
    """
    if isinstance(objective, str) and ":" in objective and any(n not in SCHEDULES for n in names):
        with contextlib.suppress(ValueError):
            own_code("objective", objective)


def schedules_named(names: Sequence[str]) -> tuple[str, ...]:
    """These names in the order of `SCHEDULES`.

    Raises:
        ValueError: an unknown one; the known ones are listed.
    """
    for name in names:
        if name not in SCHEDULES:
            raise ValueError(f"unknown schedule {name!r}; known: {', '.join(SCHEDULES)}")
    return tuple(name for name in SCHEDULES if name in names)
