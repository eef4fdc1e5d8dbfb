"""The choices of a generation strategy: settings that take one of a few words, not numbers.

A choice that a strategy does not mention has its first value, which every generator supports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from search.names import require_known
from search.reading import shown


@dataclass(frozen=True)
class Choice:
    """One setting of a strategy whose value is a word.

    Attributes:
        name: its name in code, flags, files, MLflow and Optuna.
        values: the allowed values; the first is the default.
        about: what it decides, in a few words.
    """

    name: str
    values: tuple[str, ...]
    about: str

    @property
    def default(self) -> str:
        """The value that every generator supports."""
        return self.values[0]

    def check(self, value: Any) -> str:
        """Return the value if it is allowed.

        Raises:
            ValueError: the value is not one of `values`.
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
                ("confidence", "confidence-spread", "random", "halton", "halton-rolled"),
                "which tokens are kept first",
            ),
            Choice(
                "confidence",
                ("log_probability", "logit"),
                "how a token's confidence is computed before noise is added",
            ),
        )
    }
)
"""All choices by name, in the order used by every vector, file and table."""


def searched_choices(given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the values that a search tries, by choice, in the order of `CHOICES`.

    Raises:
        ValueError: a choice or value is unknown, a value is given twice, or a choice has fewer
            than two values.
    """
    require_known("choice", given, CHOICES)
    found = {}
    for name, choice in CHOICES.items():
        if name not in given:
            continue
        values = tuple(choice.check(value) for value in given[name])
        if len(values) < 2 or len(set(values)) < len(values):
            raise ValueError(
                f"choices: expected two or more different values of {name}, got "
                f"{shown(list(values))}; known: {', '.join(choice.values)}"
            )
        found[name] = values
    return found
