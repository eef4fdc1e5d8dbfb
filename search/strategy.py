"""A generation strategy: how a masked image generator fills L tokens in T parallel steps.

It consists of four schedules, 4T - 2 numbers in all (AutoNAT, section 3; arXiv 2406.05478), and two
choices. search.schedules and search.choices define them as data. search.training_strategy holds
the strategy that a model is trained with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from search.choices import CHOICES
from search.reading import read_number, require_fields, shown
from search.schedules import SCHEDULES, STANDARD

MOST_STEPS = 4096
"""The largest T: the number of tokens in the largest grid of a published generator, 64 x 64."""

NEGLIGIBLE_GUIDANCE = 2.0**-24
"""Guidance at or below it changes nothing: logits are float32, in which 1 + s is then 1. Such
remainders of 0 are left where a search converts a strategy to coordinates and back."""


def require_steps(steps: int, tokens: int | None = None) -> None:
    """Refuse an impossible T before anything of its size is made.

    Args:
        steps: T.
        tokens: L, if it is known.

    Raises:
        ValueError: there is less than one step, more than MOST_STEPS, or more steps than tokens.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: a strategy has at least one step")
    if tokens is not None and steps > tokens:
        raise ValueError(f"T = {steps} steps, but the image has only {tokens} tokens")
    if steps > MOST_STEPS:
        raise ValueError(f"T = {steps} steps, but a strategy has at most {MOST_STEPS}")


@dataclass(frozen=True)
class GenerationStrategy:
    """How T parallel decoding steps turn a grid of masked tokens into an image's tokens.

    Example:
        >>> rule = GenerationStrategy.maskgit(steps=4)
        >>> rule.guidance_scale
        (0.25, 0.5, 0.75, 1.0)
        >>> rule.masked_counts(tokens=64)
        (59, 45, 24, 0)

    Attributes:
        mask_ratio: T - 1 values in [0, 1). After step t, floor(L * mask_ratio[t]) tokens stay
            masked.
        remask_temperature: T - 1 values >= 0, the scale of the Gumbel noise on confidences.
        sampling_temperature: T values >= 0 that divide the logits before tokens are sampled; 0
            takes the most probable token.
        guidance_scale: T values >= 0, s in cond + s * (cond - uncond).
        guidance_floor: guidance at or below it counts as 0 and costs no unconditional pass, as does
            guidance at or below NEGLIGIBLE_GUIDANCE. The public search cannot go below 1e-4, so
            1e-4 means 0 in its strategies.
        token_order: which tokens are kept first: the most confident ones, with independent noise
            ("confidence") or with noise most of which is spread evenly over the image
            ("confidence-spread"), random ones ("random"), the next ones of a Halton sequence over
            the grid ("halton"), or those of a Halton sequence that starts elsewhere for each image
            ("halton-rolled"). The last three use no confidences, so there the remask temperature
            has no effect.
        confidence: the confidence of a sampled token before noise is added: its "log_probability"
            or its "logit".
        more: the values of schedules that packages added, by name; a schedule that follows its
            rule of thumb is left out.

    Raises:
        ValueError: a schedule has a wrong length, a value is not finite or out of range, or a
            choice or schedule is unknown.
    """

    mask_ratio: tuple[float, ...]
    remask_temperature: tuple[float, ...]
    sampling_temperature: tuple[float, ...]
    guidance_scale: tuple[float, ...]
    guidance_floor: float = 0.0
    token_order: str = CHOICES["token_order"].default
    confidence: str = CHOICES["confidence"].default
    more: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in STANDARD:
            object.__setattr__(self, name, _read_numbers(name, getattr(self, name)))
        added = {name: _read_numbers(name, values) for name, values in self.more.items()}
        floor = read_number("guidance_floor", self.guidance_floor)
        object.__setattr__(self, "guidance_floor", floor)
        if self.steps < 1:
            raise ValueError("sampling_temperature is empty: a strategy has at least one step")
        for name in STANDARD:
            _check_values(name, getattr(self, name), self.steps)
        for name, values in added.items():
            _check_values(name, values, self.steps)
        for name, choice in CHOICES.items():
            choice.check(getattr(self, name))
        more = {n: v for n, v in added.items() if v != _rule_of_thumb(n, self.steps)}
        object.__setattr__(self, "more", {name: more[name] for name in SCHEDULES if name in more})

    @property
    def steps(self) -> int:
        """T, the number of decoding steps."""
        return len(self.sampling_temperature)

    @classmethod
    def maskgit(cls, steps: int) -> GenerationStrategy:
        """Make the rule of thumb, MaskGIT's strategy, from which searches start by default.

        Raises:
            ValueError: steps < 1 or > MOST_STEPS.
        """
        require_steps(steps)
        return cls.of({name: s.rule_of_thumb(steps) for name, s in STANDARD.items()})

    @classmethod
    def of(
        cls,
        schedules: Mapping[str, Sequence[float]],
        guidance_floor: float = 0.0,
        choices: Mapping[str, str] | None = None,
    ) -> GenerationStrategy:
        """Make a strategy from schedules and choices by name; all standard schedules are needed.

        Raises:
            ValueError: see the class.
        """
        own: dict[str, Any] = {name: schedules[name] for name in STANDARD} | dict(choices or {})
        more = {name: tuple(v) for name, v in schedules.items() if name not in STANDARD}
        return cls(**own, guidance_floor=guidance_floor, more=more)

    def schedule(self, name: str) -> tuple[float, ...]:
        """Return the T or T - 1 values of a schedule; its rule of thumb if it is not mentioned.

        Raises:
            KeyError: the name is unknown.
        """
        if name in STANDARD:
            values: tuple[float, ...] = getattr(self, name)
            return values
        return self.more[name] if name in self.more else _rule_of_thumb(name, self.steps)

    def with_values(
        self,
        schedules: Mapping[str, Sequence[float]],
        choices: Mapping[str, str] | None = None,
    ) -> GenerationStrategy:
        """Return the strategy with other values of these schedules and choices, by name.

        Raises:
            ValueError: see the class.
        """
        kept = {name: self.schedule(name) for name in self.schedules()}
        chosen = self.choices() | {**(choices or {})}
        return GenerationStrategy.of({**kept, **schedules}, self.guidance_floor, chosen)

    def schedules(self) -> tuple[str, ...]:
        """Return the names of the standard schedules and of others that the strategy mentions."""
        return (*STANDARD, *self.more)

    def choices(self) -> dict[str, str]:
        """Return the value of every choice, by name."""
        return {name: getattr(self, name) for name in CHOICES}

    def unusual_choices(self) -> dict[str, str]:
        """Return the choices that are not the default, by name."""
        return {n: v for n, v in self.choices().items() if v != CHOICES[n].default}

    def extras(self) -> dict[str, str]:
        """Return what an objective must support beyond the standard schedules, by name, in words.

        These are the choices that are not the default, and the added schedules.
        """
        chosen = {name: f"{name} = {value!r}" for name, value in self.unusual_choices().items()}
        return chosen | {name: f"a schedule {name}" for name in self.more}

    @property
    def guided(self) -> tuple[bool, ...]:
        """For each step, whether it needs the unconditional pass."""
        floor = max(self.guidance_floor, NEGLIGIBLE_GUIDANCE)
        return tuple(scale > floor for scale in self.guidance_scale)

    def forward_passes(self) -> int:
        """Return the network passes for each image: one a step, two in steps with guidance."""
        return self.steps + sum(self.guided)

    def with_passes(self, limit: int, unguided: float = 0.0) -> GenerationStrategy:
        """Return the strategy with at most that many forward passes, but never fewer than T.

        The smallest guidance scales become `unguided`, of equal ones the earlier first.

        Args:
            limit: of forward passes for each image.
            unguided: a scale that counts as no guidance, from 0 to `guidance_floor`.
        """
        excess = max(0, self.forward_passes() - max(limit, self.steps))
        guided = [t for t in range(self.steps) if self.guided[t]]
        dropped = sorted(guided, key=lambda t: self.guidance_scale[t])[:excess]
        if not dropped:
            return self
        scales = tuple(unguided if t in dropped else s for t, s in enumerate(self.guidance_scale))
        return replace(self, guidance_scale=scales)

    def masked_counts(self, tokens: int) -> tuple[int, ...]:
        """Return the number of masked tokens after each step, as decoding enforces it; T values.

        n[t] = max(1, min(n[t-1] - 1, floor(L * mask_ratio[t]))), with n[-1] = L and n[T-1] = 0:
        whatever the ratios are, the counts fall at every step or stay at 1, and end at 0.

        Raises:
            ValueError: there are more steps than tokens.
        """
        require_steps(self.steps, tokens)
        counts: list[int] = []
        masked = tokens
        for ratio in self.mask_ratio:
            masked = max(1, min(masked - 1, math.floor(tokens * ratio)))
            counts.append(masked)
        return (*counts, 0)

    def with_steps(self, steps: int) -> GenerationStrategy:
        """Return the same curves at another T (see `Schedule.read_off`), with the same choices.

        mask_ratio[t] and guidance_scale[t] belong to time (t + 1)/T (the ratio is 1 at time 0 and 0
        at time 1), the two temperatures to time t/T. Halving T of the rule of thumb therefore gives
        the rule of thumb.

        Raises:
            ValueError: steps < 1 or > MOST_STEPS.
        """
        require_steps(steps)
        if steps == self.steps:
            return self
        curves = {
            name: SCHEDULES[name].read_off(self.schedule(name), self.steps, steps)
            for name in self.schedules()
        }
        return GenerationStrategy.of(curves, self.guidance_floor, self.choices())

    def parameters(self) -> dict[str, float]:
        """Return all values by name (mask_ratio_0 …), as in Optuna and MLflow.

        There are 4T - 2 of them, and then those of added schedules.
        """
        names = self.schedules()
        return {f"{name}_{i}": v for name in names for i, v in enumerate(self.schedule(name))}

    def to_json(self) -> dict[str, Any]:
        """Return the strategy as a JSON object; choices that are the default are left out."""
        lists = {name: list(self.schedule(name)) for name in self.schedules()}
        numbers = {"steps": self.steps, **lists, "guidance_floor": self.guidance_floor}
        return numbers | self.unusual_choices()

    @classmethod
    def from_json(cls, data: Any) -> GenerationStrategy:
        """Make a strategy from a JSON object: the inverse of `to_json`.

        Raises:
            ValueError: a field is missing, unknown or not valid; the line names it.
        """
        needed = ("steps", *STANDARD, "guidance_floor")
        added = [name for name in SCHEDULES if name not in STANDARD]
        for name, value in data.items() if isinstance(data, dict) else ():
            if isinstance(value, list) and name not in (*needed, *CHOICES, *added):
                raise ValueError(
                    f"generation has the unknown field {shown(name)}; if it is a schedule of a "
                    "package, install the package"
                )
        checked = require_fields("generation", data, needed, (*CHOICES, *added))
        steps = checked.pop("steps")
        more = {name: checked.pop(name) for name in added if name in checked}
        strategy = cls(**checked, more=more)
        if isinstance(steps, bool) or steps != strategy.steps:
            raise ValueError(
                f"generation.steps = {shown(steps)}, but sampling_temperature has "
                f"{strategy.steps} values"
            )
        return strategy


def schedules_of(strategies: Iterable[GenerationStrategy]) -> tuple[str, ...]:
    """Return the schedules to show for these strategies: the standard ones and any they mention."""
    mentioned = {name for strategy in strategies for name in strategy.more}
    return tuple(name for name in SCHEDULES if name in STANDARD or name in mentioned)


def _rule_of_thumb(name: str, steps: int) -> tuple[float, ...]:
    return tuple(float(value) for value in SCHEDULES[name].rule_of_thumb(steps))


def _read_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return the values of a schedule as floats.

    Raises:
        ValueError: the schedule is unknown, or a value is not a number >= 0.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {shown(name)}; known: {', '.join(SCHEDULES)}")
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise ValueError(f"{name}: expected a list of numbers, got {shown(values)}")
    if len(values) > MOST_STEPS:
        raise ValueError(
            f"{name} has {len(values)} values, but a strategy has at most {MOST_STEPS} steps"
        )
    fault = SCHEDULES[name].range_text
    return tuple(read_number(f"{name}[{i}]", value, fault) for i, value in enumerate(values))


def _check_values(name: str, values: tuple[float, ...], steps: int) -> None:
    """Check the number of values, and that each is below the schedule's limit.

    Raises:
        ValueError: a check fails.
    """
    schedule = SCHEDULES[name]
    if len(values) != schedule.length(steps):
        raise ValueError(
            f"{name} has {len(values)} values, but T = {steps} steps (the length of "
            f"sampling_temperature) need {schedule.length(steps)}"
        )
    for i, value in enumerate(values):
        if value >= schedule.below:
            raise ValueError(f"{name}[{i}] = {value} is {schedule.range_text}")
