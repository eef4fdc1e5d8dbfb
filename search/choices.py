"""The choices of a generation strategy: what is one of a few words rather than a list of numbers.

A choice that a strategy does not mention has its first value, which is what every generator does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from search.reading import shown


@dataclass(frozen=True)
class Choice:
    """One word of a strategy.

    Attributes:
        name: in code, flags, files, MLflow and Optuna.
        values: all that it may be; the first is the default.
        about: what it decides, in a few words.
    """

    name: str
    values: tuple[str, ...]
    about: str

    @property
    def default(self) -> str:
        """What every generator does."""
        return self.values[0]

    def check(self, value: Any) -> str:
        """The value.

        Raises:
            ValueError: it is none of `values`.
        """
        if not isinstance(value, str) or value not in self.values:
            known = ", ".join(self.values)
            raise ValueError(f"{self.name} = {shown(value)} is unknown; known: {known}")
        return value


CHOICES: Mapping[str, Choice] = MappingProxyType(
    {
        choice.name: choice
        for choice in (
            Choice(
                "token_order",
                ("confidence", "random", "halton", "halton-rolled"),
                "which tokens are kept first",
            ),
            Choice(
                "confidence",
                ("log_probability", "logit"),
                "what a token's confidence is before its noise",
            ),
        )
    }
)
"""All choices by name, in the order in which every vector, file and table lists them."""


def searched_choices(given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The values that a search tries, by choice, in the order of `CHOICES`.

    Raises:
        ValueError: an unknown choice or value, one that is named twice, or only one of them.
    """
    for name in given:
        if name not in CHOICES:
            raise ValueError(f"unknown choice {shown(name)}; known: {', '.join(CHOICES)}")
    found = {}
    for name, choice in CHOICES.items():
        if name not in given:
            continue
        values = tuple(choice.check(value) for value in given[name])
        if len(values) < 2 or len(set(values)) < len(values):
            raise ValueError(
                f"choices: {name} = {shown(list(values))} is not a list of two different values "
                f"or more; known: {', '.join(choice.values)}"
            )
        found[name] = values
    return found
