"""A generation strategy: how a masked image generator fills L tokens in T parallel steps.

Four schedules, 4T - 2 numbers in all (AutoNAT, section 3; arXiv 2406.05478). What it is trained
with is in search.training_strategy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from search.reading import shown

SCHEDULES = ("mask_ratio", "remask_temperature", "sampling_temperature", "guidance_scale")
"""The four schedules, in the order in which every vector and file lists them."""

MOST_STEPS = 4096
"""T is at most that: as many as the largest grids of published generators, 64 x 64, have tokens."""

LARGEST_VALUE = 1e9
"""Of a schedule: networks compute in float32, where the products of larger ones overflow."""


def require_steps(steps: int, tokens: int | None = None) -> None:
    """Refuse a T that cannot be, before anything of its size is made.

    Args:
        steps: T.
        tokens: L, where it is known.

    Raises:
        ValueError: less than one step, more than MOST_STEPS, or more steps than tokens.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: a strategy has at least one step")
    if tokens is not None and steps > tokens:
        raise ValueError(f"T = {steps} steps, but the image has only {tokens} tokens")
    if steps > MOST_STEPS:
        raise ValueError(f"T = {steps} steps, but a strategy has at most {MOST_STEPS}")


def schedule_length(schedule: str, steps: int) -> int:
    """Values in a schedule of T steps: T - 1 for what the last step leaves fixed, else T."""
    return steps - 1 if schedule in ("mask_ratio", "remask_temperature") else steps


@dataclass(frozen=True)
class GenerationStrategy:
    """How T parallel decoding steps turn an all-masked grid into tokens.

    Attributes:
        mask_ratio: T - 1 values in [0, 1). After step t, floor(L * mask_ratio[t]) tokens stay
            masked.
        remask_temperature: T - 1 values >= 0, the scale of the Gumbel noise on confidences.
        sampling_temperature: T values >= 0, dividing the logits that tokens are sampled from.
        guidance_scale: T values >= 0, s in cond + s * (cond - uncond).
        guidance_floor: guidance at or below it counts as 0 and costs no unconditional pass. The
            public search cannot go below 1e-4, so a strategy from there means 0 by 1e-4.

    Raises:
        ValueError: a wrong length, a value that is not finite or outside its range.
    """

    mask_ratio: tuple[float, ...]
    remask_temperature: tuple[float, ...]
    sampling_temperature: tuple[float, ...]
    guidance_scale: tuple[float, ...]
    guidance_floor: float = 0.0

    def __post_init__(self) -> None:
        for name in SCHEDULES:
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise ValueError(f"{name} must be a list of numbers, not {shown(values)}")
            if len(values) > MOST_STEPS:
                raise ValueError(
                    f"{name} has {len(values)} values, but a strategy has at most {MOST_STEPS} "
                    "steps"
                )
            checked = tuple(read_number(f"{name}[{i}]", value) for i, value in enumerate(values))
            object.__setattr__(self, name, checked)
        object.__setattr__(
            self, "guidance_floor", read_number("guidance_floor", self.guidance_floor)
        )
        if self.steps < 1:
            raise ValueError("sampling_temperature is empty: a strategy has at least one step")
        for name in SCHEDULES:
            expected, found = schedule_length(name, self.steps), len(getattr(self, name))
            if found != expected:
                raise ValueError(
                    f"{name} has {found} values, but T = {self.steps} steps (the length of "
                    f"sampling_temperature) need {expected}"
                )
        for i, value in enumerate(self.mask_ratio):
            if value >= 1:
                raise ValueError(f"mask_ratio[{i}] = {value} is outside [0, 1)")

    @property
    def steps(self) -> int:
        """T, the number of decoding steps."""
        return len(self.sampling_temperature)

    @classmethod
    def maskgit(cls, steps: int) -> GenerationStrategy:
        """The rule of thumb (MaskGIT's), where every search starts.

        Raises:
            ValueError: steps < 1 or > MOST_STEPS.
        """
        require_steps(steps)
        line = np.linspace(0, 1, steps + 1)
        return cls(
            mask_ratio=tuple(np.cos(line * math.pi / 2)[1:-1]),
            remask_temperature=tuple((1 - line)[:-2]),
            sampling_temperature=(1.0,) * steps,
            guidance_scale=tuple(line[1:]),
        )

    @property
    def guided(self) -> tuple[bool, ...]:
        """For each step, whether it needs the unconditional pass."""
        return tuple(scale > self.guidance_floor for scale in self.guidance_scale)

    def forward_passes(self) -> int:
        """Network passes an image: one a step, two where guidance is in force."""
        return self.steps + sum(self.guided)

    def masked_counts(self, tokens: int) -> tuple[int, ...]:
        """The number of masked tokens after each step, as decoding enforces it: T values that fall
        at every step, or stay at 1 once they are there, and end at 0, whatever the ratios are.

        n[t] = max(1, min(n[t-1] - 1, floor(L * mask_ratio[t]))), with n[-1] = L and n[T-1] = 0.

        Raises:
            ValueError: more steps than tokens.
        """
        require_steps(self.steps, tokens)
        counts: list[int] = []
        masked = tokens
        for ratio in self.mask_ratio:
            masked = max(1, min(masked - 1, math.floor(tokens * ratio)))
            counts.append(masked)
        return (*counts, 0)

    def with_steps(self, steps: int) -> GenerationStrategy:
        """The same curves read off at another T, by linear interpolation over t/T.

        mask_ratio[t] and guidance_scale[t] belong to time (t + 1)/T (the ratio with 1 and 0 as its
        ends), the two temperatures to time t/T; so the rule of thumb's halves are its own. Beyond
        its ends a curve is held constant.

        Raises:
            ValueError: steps < 1 or > MOST_STEPS.
        """
        require_steps(steps)
        if steps == self.steps:
            return self
        if self.steps == 1:  # no ratio or remask temperature to read off: the rule of thumb's
            rule = GenerationStrategy.maskgit(steps)
            return GenerationStrategy(
                rule.mask_ratio,
                rule.remask_temperature,
                self.sampling_temperature * steps,
                self.guidance_scale * steps,
                self.guidance_floor,
            )
        old, new = np.arange(self.steps + 1) / self.steps, np.arange(steps + 1) / steps
        return GenerationStrategy(
            tuple(np.interp(new[1:-1], old, [1.0, *self.mask_ratio, 0.0])),
            tuple(np.interp(new[:-2], old[:-2], self.remask_temperature)),
            tuple(np.interp(new[:-1], old[:-1], self.sampling_temperature)),
            tuple(np.interp(new[1:], old[1:], self.guidance_scale)),
            self.guidance_floor,
        )

    def parameters(self) -> dict[str, float]:
        """The 4T - 2 values by name (mask_ratio_0 …), as in Optuna and MLflow."""
        return {f"{name}_{i}": v for name in SCHEDULES for i, v in enumerate(getattr(self, name))}

    def to_json(self) -> dict[str, Any]:
        """The `generation` part of the strategy file."""
        lists = {name: list(getattr(self, name)) for name in SCHEDULES}
        return {"steps": self.steps, **lists, "guidance_floor": self.guidance_floor}

    @classmethod
    def from_json(cls, data: Any) -> GenerationStrategy:
        """The inverse of `to_json`.

        Raises:
            ValueError: a field is missing, unknown, or not valid; the line names it.
        """
        checked = require_fields("generation", data, ("steps", *(f.name for f in fields(cls))))
        steps = checked.pop("steps")
        strategy = cls(**checked)
        if isinstance(steps, bool) or steps != strategy.steps:
            raise ValueError(
                f"generation.steps = {shown(steps)}, but sampling_temperature has "
                f"{strategy.steps} values"
            )
        return strategy


def require_fields(where: str, data: Any, names: Sequence[str]) -> dict[str, Any]:
    """`data` as a dict with exactly these fields.

    Raises:
        ValueError: not an object, a missing field, or one that is unknown; `where` is named.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object, not {shown(data)}")
    for name in names:
        if name not in data:
            raise ValueError(f"{where} lacks the field {shown(name)}")
    for name in data:
        if name not in names:
            raise ValueError(f"{where} has the unknown field {shown(name)}")
    return dict(data)


def read_number(name: str, value: Any) -> float:
    """A number in [0, LARGEST_VALUE] as a float; booleans and strings are no numbers.

    Raises:
        ValueError: it is none; `name` is named.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} = {shown(value)} is not a number")
    if value != value or value in (math.inf, -math.inf):
        raise ValueError(f"{name} = {shown(value)} is not finite")
    if value < 0:
        range_ = "outside [0, 1)" if name.startswith("mask_ratio") else "negative"
        raise ValueError(f"{name} = {shown(value)} is {range_}")
    if value > LARGEST_VALUE:
        raise ValueError(f"{name} = {shown(value)} is above {LARGEST_VALUE:g}, the largest allowed")
    return float(value)
