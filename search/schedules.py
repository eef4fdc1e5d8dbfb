"""The schedules of a generation strategy as data: what each schedule is, and how it depends on T.

Four schedules are standard: every generator decodes with them, and by default a search searches
them. A package adds its own with `register`, or under the entry point group `autonat.schedules`:

    register(
        Schedule(
            name="noise_scale",
            about="the scale of the noise that my generator adds to its logits",
            rule_of_thumb=lambda steps: (1.0,) * steps,
            bound=lambda steps: Bound(0.1, 10.0, log=True),
        )
    )

An added schedule follows its rule of thumb in every strategy that does not mention it. The rule of
thumb must therefore describe what a generator does that does not know the schedule. The schedule is
searched if a search gives bounds for it, and is measured by objectives that name it (see
`trials.objectives.objective`). docs/extending/noise_scale.py is a runnable example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from search.bound import Bound, Vector
from search.choices import CHOICES
from search.names import require_known
from search.plugins import Registry
from search.user_code import own_code


@dataclass(frozen=True)
class Schedule:
    """A list of numbers of a strategy, one a step.

    Attributes:
        name: its name in code, flags, files, MLflow and Optuna; an identifier.
        about: what its values do, in a few words.
        rule_of_thumb: a function from T to `length` values, from which a search starts.
        bound: a function from T to the range of values that a search tries.
        last_step: whether the last step has a value, which makes T values rather than T - 1.
        at_end: whether value t belongs to the end of step t, time (t + 1)/T, rather than to its
            beginning, time t/T. This matters when the schedule is converted to another T.
        below: an upper limit that values must stay below.
        masks: whether it is the share of tokens that stay masked, which falls from 1 at time 0 to
            0 at time 1 and is rounded to whole tokens in decoding. True only for `mask_ratio`.
        standard: whether every generator decodes with it (see the module).
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
        """Return how many values it has at T = `steps`."""
        return steps if self.last_step else steps - 1

    def times(self, steps: int) -> Vector:
        """Return the times of its values, from 0 (start of decoding) to 1 (its end); [length]."""
        line = np.arange(steps + 1) / steps
        return line[1:][: self.length(steps)] if self.at_end else line[: self.length(steps)]

    def read_off(self, values: Sequence[float], steps: int, other: int) -> tuple[float, ...]:
        """Return the values of the same curve at another T.

        The curve is interpolated linearly over time, and constant beyond its first and last value.

        Args:
            values: the values at T = `steps`; if empty, the rule of thumb is used.
            steps: T.
            other: the other T.
        """
        if not len(values):
            return tuple(self.rule_of_thumb(other))
        times, known = self.times(steps), np.asarray(values, dtype=np.float64)
        if self.masks:
            times, known = np.r_[0.0, times, 1.0], np.r_[1.0, known, 0.0]
        return tuple(np.interp(self.times(other), times, known))

    def on_bound(self, value: float, bound: Bound) -> Literal["lower", "upper"] | None:
        """Tell whether a value is on a bound of a search, within a hundredth of the range.

        The range is measured on its own scale. Bounds beyond which no value makes sense, such as 0
        or the largest mask ratio, do not count.
        """
        ends = np.array([bound.low, bound.high, value])
        low, high, at = np.log(np.maximum(ends, 1e-12)) if bound.log else ends
        place = (at - low) / (high - low)
        if place <= 0.01 and bound.low > 0:
            return "lower"
        return "upper" if place >= 0.99 and not self.masks else None

    @property
    def range_text(self) -> str:
        """What an error line says of a value that is not legal."""
        return f"outside [0, {self.below:g})" if self.below < math.inf else "negative"


def _cosine(steps: int) -> Sequence[float]:
    return tuple(np.cos(np.linspace(0, 1, steps + 1) * math.pi / 2)[1:-1])


def _falling(steps: int) -> Sequence[float]:
    return tuple((1 - np.linspace(0, 1, steps + 1))[:-2])


def _rising(steps: int) -> Sequence[float]:
    return tuple(np.linspace(0, 1, steps + 1)[1:])


# The lowest remask temperature of the rule of thumb is 2/T, and its highest mask ratio is about
# 1 - 1.23/T**2. If T is so large that these would be out of bounds, the bounds are wider.
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
        # Logarithmic, because good schedules reach far above the rule of thumb's 1.
        lambda steps: Bound(0.01 if steps <= 200 else 1 / steps, 30.0, log=True),
        last_step=False,
        at_end=False,
        standard=True,
    ),
    Schedule(
        "sampling_temperature",
        "the number that divides the logits before tokens are sampled",
        lambda steps: (1.0,) * steps,
        lambda steps: Bound(0.2, 4.0, log=True),
        at_end=False,
        standard=True,
    ),
    Schedule(
        "guidance_scale",
        "the s of classifier-free guidance: cond + s * (cond - uncond)",
        _rising,
        lambda steps: Bound(0.0, 4.0),
        standard=True,
    ),
)


OTHER_FIELDS = ("steps", "guidance_floor", *CHOICES)
"""What a strategy has beside schedules, in its file and in code."""
_PACKAGES: Registry[Schedule] = Registry("schedule", {})
"""The schedules of installed packages."""


class _Schedules(Mapping[str, Schedule]):
    """The known schedules by name, in the order used by every vector, file and table.

    The standard schedules come first, then those of installed packages, then those registered in
    code.
    """

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self._known = {schedule.name: schedule for schedule in schedules}
        self._broken: dict[str, str] = {}
        self._packages_loaded = False

    def __getitem__(self, name: str) -> Schedule:
        if name not in self._known:  # standard schedules are found without looking at packages
            self._load_packages()
        if name in self._broken and name not in self._known:
            raise ValueError(f"schedule {name} cannot be used: {self._broken[name]}")
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._load_packages()
        return iter(tuple(self._known))

    def __len__(self) -> int:
        self._load_packages()
        return len(self._known)

    def add(self, schedule: Schedule) -> None:
        """See `register`."""
        if not isinstance(schedule, Schedule):
            raise ValueError(f"expected a Schedule to register, got {type(schedule).__name__}")
        if not schedule.name.isidentifier():
            raise ValueError(
                f"expected a schedule whose name is an identifier, got {schedule.name!r}"
            )
        if schedule.name in OTHER_FIELDS:
            raise ValueError(
                f"schedule {schedule.name}: a strategy has another field of this name; choose "
                "another one"
            )
        if schedule.standard or schedule.masks:
            raise ValueError(
                f"schedule {schedule.name}: only built-in schedules may set standard or masks"
            )
        known = self._known.get(schedule.name)
        if known is not None and known != schedule and known.about != schedule.about:
            raise ValueError(f"a schedule named {schedule.name} exists already: {known.about}")
        self._known[schedule.name] = schedule

    def _load_packages(self) -> None:
        if self._packages_loaded:
            return
        self._packages_loaded = True  # set first, because a package may look at the schedules
        for name in _PACKAGES.names():
            try:
                self.add(_PACKAGES.load(name))
            except ValueError as error:  # only those who ask for the schedule are told
                self._broken[name] = str(error)


_REGISTERED = _Schedules(_STANDARD)
SCHEDULES: Mapping[str, Schedule] = _REGISTERED
"""All known schedules by name; see `register`."""
STANDARD: Mapping[str, Schedule] = MappingProxyType({s.name: s for s in _STANDARD})
"""The four standard schedules by name, in their order."""


def register(schedule: Schedule) -> Schedule:
    """Register a schedule, and return it; the same schedule may be registered again.

    Raises:
        ValueError: the name is taken, is that of another field of a strategy or is not an
            identifier, or the schedule claims to be standard.
    """
    _REGISTERED.add(schedule)
    return schedule


def seek_schedules(names: Iterable[str], objective: Any) -> None:
    """Import a user's objective if a schedule is unknown, because its module may register it.

    Args:
        names: the names of schedules in a file or a record.
        objective: `package.module:Class`; for a registered name nothing happens.

    Raises:
        ValueError: the import fails, so that a schedule stays unknown.
    """
    unknown = [name for name in names if name not in SCHEDULES]
    if isinstance(objective, str) and ":" in objective and unknown:
        try:
            own_code("objective", objective)
        except ValueError as error:
            raise ValueError(f"schedule {unknown[0]} is unknown without {error}") from None


def schedules_named(names: Sequence[str]) -> tuple[str, ...]:
    """Return these names in the order of `SCHEDULES`.

    Raises:
        ValueError: a name is unknown; the known names are listed.
    """
    require_known("schedule", names, SCHEDULES)
    return tuple(name for name in SCHEDULES if name in names)
