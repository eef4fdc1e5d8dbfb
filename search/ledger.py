"""Which probes are in flight and what came of the others: the bookkeeping behind ask and tell."""

from __future__ import annotations

import math

from search.measurement import Failure, Measurement
from search.optimiser import Probe


class Ledger:
    """Numbers probes and keeps their FIDs."""

    def __init__(self) -> None:
        self._in_flight: dict[int, Probe] = {}
        self._fids: dict[int, float] = {}
        self._images: dict[int, int] = {}
        self._in_order = 0

    def __len__(self) -> int:
        """How many probes were asked."""
        return len(self._in_flight) + len(self._fids)

    def ask(self, probe: Probe) -> Probe:
        """Enter a probe."""
        self._in_flight[probe.number] = probe
        self._images[probe.number] = probe.images
        return probe

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """Enter what came of it.

        Raises:
            ValueError: the probe was not asked for, or was told already.
        """
        if self._in_flight.get(probe.number) != probe:
            known = "was told already" if probe.number in self._fids else "was never asked"
            raise ValueError(f"probe {probe.number} {known}")
        del self._in_flight[probe.number]
        self._fids[probe.number] = result.fid if isinstance(result, Measurement) else math.nan
        if isinstance(result, Measurement):
            self._images[probe.number] = result.images

    @property
    def in_flight(self) -> int:
        """How many probes were asked and not told."""
        return len(self._in_flight)

    @property
    def spent(self) -> int:
        """Images generated, and those that the probes in flight may take."""
        return sum(self._images.values())

    def images(self, number: int) -> int:
        """Images of a probe: fewer than asked if it was stopped."""
        return self._images[number]

    def told_in_order(self) -> int:
        """How many probes, from probe 0 on, have all been told."""
        while self._in_order in self._fids:
            self._in_order += 1
        return self._in_order

    def fid(self, number: int) -> float | None:
        """The FID of a probe that was told; None if it failed or is not finite."""
        fid = self._fids[number]
        return fid if math.isfinite(fid) else None
