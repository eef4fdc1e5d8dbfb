"""Re-tests of the best few strategies in rounds that the better half survives."""

from __future__ import annotations

RETEST_SHARE = 0.15
"""The share of the evaluations of a search that is spent on re-tests."""


class Halving:
    """Rounds of re-tests: 2^r contenders first; each round has half as many, twice as often."""

    def __init__(self, rounds: int, replicates: int) -> None:
        self.rounds, self._replicates = rounds, replicates
        self.contenders = 2**rounds if rounds else 0
        self.evaluations = rounds * self.contenders * replicates

    @classmethod
    def affordable(cls, evaluations: int) -> Halving:
        """Return the most rounds that RETEST_SHARE of the evaluations pays for."""
        share = int(evaluations * RETEST_SHARE)
        for rounds in (4, 3, 2, 1):
            replicates = share // (rounds * 2**rounds)
            if replicates >= (2 if rounds > 2 else 1):
                return cls(rounds, replicates)
        return cls(0, 0)

    def place(self, number: int) -> tuple[int, int, int]:
        """Return round, contender and replicate of the re-test of that number."""
        round_, rest = divmod(number, self.contenders * self._replicates)
        replicate, contender = divmod(rest, self.contenders >> round_)
        return round_, contender, replicate

    def first_seed(self, round_: int) -> int:
        """Return the number of seeds used by the rounds before."""
        return self._replicates * ((1 << round_) - 1)
