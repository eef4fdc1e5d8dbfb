"""The bookkeeping behind ask and tell: which probes are in flight, and the others' results."""

from __future__ import annotations

import math

from search.measurement import Failure, Measurement
from search.optimiser import Probe


def amount_asked(probe: Probe) -> int:
    """Return the amount of work asked: training steps if a model is trained, else images."""
    return probe.images if probe.training is None else probe.training.steps


def amount_done(probe: Probe, result: Measurement) -> int:
    """Return how much of `amount_asked` was done."""
    return result.images if probe.training is None else result.training_steps


class Ledger:
    """Numbers probes and keeps their values."""

    def __init__(self) -> None:
        self._in_flight: dict[int, Probe] = {}
        self._values: dict[int, float] = {}
        self._done: dict[int, tuple[int, int]] = {}
        self._saved: dict[int, float] = {}
        self._in_order = 0

    def __len__(self) -> int:
        """How many probes were asked."""
        return len(self._in_flight) + len(self._values)

    def ask(self, probe: Probe) -> Probe:
        """Enter a probe as in flight, and return it."""
        self._in_flight[probe.number] = probe
        self._done[probe.number] = (amount_asked(probe), amount_asked(probe))
        return probe

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """Enter the result of a probe.

        Raises:
            ValueError: the probe was not asked for, or was told already.
        """
        if self._in_flight.get(probe.number) != probe:
            fault = "was told already" if probe.number in self._values else "was never asked"
            raise ValueError(f"probe {probe.number} {fault}")
        del self._in_flight[probe.number]
        self._values[probe.number] = result.value if isinstance(result, Measurement) else math.nan
        if isinstance(result, Measurement):
            done, asked = amount_done(probe, result), amount_asked(probe)
            self._done[probe.number] = (done, asked)
            if done != asked:
                self._saved[probe.number] = 1 - done / asked

    @property
    def in_flight(self) -> int:
        """How many probes were asked and not yet told."""
        return len(self._in_flight)

    @property
    def spent(self) -> float:
        """The work done, in whole evaluations; a probe in flight counts as a whole one."""
        return len(self) - math.fsum(self._saved.values())

    def done(self, number: int) -> int:
        """Return the work done for a probe: training steps if a model is trained, else images."""
        return self._done[number][0]

    def stopped(self, number: int) -> bool:
        """Whether less was done than asked, so that the value does not compare with others."""
        done, asked = self._done[number]
        return done < asked

    def told_in_order(self) -> int:
        """Return k such that probes 0 to k - 1 have all been told."""
        while self._in_order in self._values:
            self._in_order += 1
        return self._in_order

    def value(self, number: int) -> float | None:
        """Return the value of a probe that was told; None if it failed or is not finite."""
        value = self._values[number]
        return value if math.isfinite(value) else None
