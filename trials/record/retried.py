"""The trials of a study that no longer count, because failures were tried again.

Superseded trials stay in the storage. One attribute of their study says which they are, so that
each step of a retry is one write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RETRIED = "retried"
"""The attribute that a study gets when its failures, or those of a study it tests, are retried."""


@dataclass(frozen=True)
class Retried:
    """The value of the attribute RETRIED.

    Attributes:
        since: the number of the first probe that may differ from the recorded one; None where
            all recorded probes are settled.
        superseded: numbers of the trials that no longer count.
        reopened: whether a study that looks complete may still have trials superseded.
    """

    since: int | None = None
    superseded: frozenset[int] = frozenset()
    reopened: bool = False

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> Retried:
        """Read the attribute's value, which is None for a study without the attribute."""
        if told is None:
            return cls()
        return cls(told["from"], frozenset(told["superseded"]), bool(told["reopened"]))

    def to_json(self) -> dict[str, Any]:
        """The attribute's value."""
        numbers = sorted(self.superseded)
        return {"from": self.since, "superseded": numbers, "reopened": self.reopened}

    def supersede(self, numbers: Iterable[int], since: int) -> Retried:
        """A copy with more superseded trials, of which the earliest is of the probe `since`."""
        earliest = since if self.since is None else min(since, self.since)
        void = self.superseded.union(numbers)
        return dataclasses.replace(self, since=earliest, superseded=void)

    def reopen(self) -> Retried:
        """A copy in which every recorded probe may still change."""
        return dataclasses.replace(self, since=0, reopened=True)

    def settle(self) -> Retried:
        """A copy in which nothing may change: every recorded probe that counts was asked for
        again."""
        return dataclasses.replace(self, since=None, reopened=False)
