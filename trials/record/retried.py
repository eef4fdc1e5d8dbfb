"""What trying failures again has made of a study: the trials that count for nothing any more.

Trials stay in the storage; which of them are superseded is in one attribute of their study, so
that each step of trying again is one write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RETRIED = "retried"
"""The attribute of a study whose failures, or those of a study that it tests, were tried again."""


@dataclass(frozen=True)
class Retried:
    """See RETRIED.

    Attributes:
        since: from which probe on others may be asked than are recorded, while that is not settled.
        superseded: numbers of trials.
        reopened: whether what is recorded may still prove to be superseded, though it looks
            complete.
    """

    since: int | None = None
    superseded: frozenset[int] = frozenset()
    reopened: bool = False

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> Retried:
        """From the attribute's value, or None where the study has none."""
        if told is None:
            return cls()
        return cls(told["from"], frozenset(told["superseded"]), bool(told["reopened"]))

    def to_json(self) -> dict[str, Any]:
        """The attribute's value."""
        numbers = sorted(self.superseded)
        return {"from": self.since, "superseded": numbers, "reopened": self.reopened}

    def supersede(self, numbers: Iterable[int], since: int) -> Retried:
        """With more superseded trials, the first of probe `since`."""
        earliest = since if self.since is None else min(since, self.since)
        void = self.superseded.union(numbers)
        return dataclasses.replace(self, since=earliest, superseded=void)

    def reopen(self) -> Retried:
        """With all that is recorded in doubt."""
        return dataclasses.replace(self, since=0, reopened=True)

    def settle(self) -> Retried:
        """With nothing in doubt: all of what is recorded, and not superseded, was asked."""
        return dataclasses.replace(self, since=None, reopened=False)
