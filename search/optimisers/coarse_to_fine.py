"""Our own search: smooth curves first, finer ones later, guided by a Gaussian process.

A strategy is a set of curves (see search.coordinates). The search first measures the controls (see
search.controls), so that it does not end above them. It then varies only levels and slopes, seven
numbers, and frees finer orders as it proceeds. It measures where a Gaussian process (see
search.gaussian_process) expects the lowest value. Evaluations share seeds in blocks, so that their
differences are nearly free of noise, and every block starts by measuring the best strategy so far
under the seed of the block. If gradients are asked for (see search.gradient), the process learns
from these, too. In the end the best few strategies are measured again on common fresh seeds, in
rounds that the better half survives. The winner is the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from search.bound import Vector
from search.coordinates import COARSE_ORDER, Coordinates
from search.curve_slopes import MeasuredGradient, slopes_of
from search.earlier import AtOwnT, EarlierSearch, Knowledge, at_own_t, slopes_at_own_t
from search.first_strategies import first_points
from search.gaussian_process import Data, GaussianProcess, Slopes, fit
from search.gradient import DIFFERENTIABLE, Gradient
from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, RETEST, WAIT, Budget, Probe, Signal, evaluation_seed
from search.optimisers.contenders import beside_other_choices, better_half
from search.optimisers.halving import Halving
from search.space import Space
from search.spread_points import spread_points
from search.strategy import GenerationStrategy
from search.value_scale import ReferenceScale, ValueScale, is_flat, scaled

WIDTHS = (1.0, 0.3, 2.0, 0.0)
"""The widths of the lower confidence bound, in deviations, in turn: 0 is greedy, 2 explores."""
COARSE_SHARE = 0.35
"""The share of the search that varies only orders 0 and 1."""
FIRST_RESULTS = 3
"""With gradients, the fewest results that the first proposal knows."""
CONVERGED_GAIN = 0.01
"""A search has converged if its second half improved the value by less than this share."""
FEWEST_EVALUATIONS = 8
MOST_POINTS = 500
"""The most evaluations that the model sees: the best and the latest."""
MOST_SLOPES = 1000
"""The most derivatives that the model sees: those of the lowest values."""
FIRST_FIT, LATER_FITS = 60, 15
"""Iterations of the fit of hyperparameters."""

Model = GaussianProcess | AtOwnT


class CoarseToFine:
    """Minimises the metric over curves of increasing detail.

    Args:
        space: the space to search; frozen schedules and bounds are respected.
        budget: how many evaluations are asked.
        seed: all random decisions and the seeds of the evaluations derive from it.
        tokens: L if it is known; mask ratios then move by whole tokens.
        earlier: searches at other T from whose evaluations this one learns (see search.earlier).
        max_in_flight: the largest number of probes in flight, >= 1. The proposal of probe k uses
            the results of probes 0 … k - max_in_flight and no others.
        evaluations_per_seed: the number of evaluations that share a seed, >= 2.
        begin_with_controls: whether the controls are measured first. Without them the search may
            end above the best control; it is there to show what they are worth.
        gradients: whether it asks for the gradient of the metric with each evaluation but
            re-tests. Only some objectives measure it, and such an evaluation takes longer. Those of
            earlier searches are not used.

    Raises:
        ValueError: a setting is out of range, the budget is less than 8 evaluations, or every
            schedule is frozen and only choices are left; or earlier searches and this one have
            measured too few of the same strategies (see `Knowledge`).
    """

    begins_with_controls = True

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        tokens: int | None = None,
        earlier: Sequence[EarlierSearch] = (),
        *,
        max_in_flight: int = 4,
        evaluations_per_seed: int = 24,
        begin_with_controls: bool = True,
        gradients: bool = False,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight = {max_in_flight} is not positive")
        if evaluations_per_seed < 2:
            raise ValueError(f"evaluations_per_seed = {evaluations_per_seed} is less than 2")
        if budget.evaluations < FEWEST_EVALUATIONS:
            images = budget.images_per_evaluation
            raise ValueError(
                f"budget = {budget.images} images is too small for coarse-to-fine: "
                f"{FEWEST_EVALUATIONS} evaluations of {images} images need "
                f"{FEWEST_EVALUATIONS * images}"
            )
        if not space.free_length:
            raise ValueError(
                "coarse-to-fine searches curves, but every schedule is frozen and only choices are "
                "left"
            )
        if gradients and not set(DIFFERENTIABLE) & set(space.free):
            raise ValueError(
                f"gradients = True: {', '.join(DIFFERENTIABLE)}, which have derivatives, are all "
                "frozen"
            )
        self._space, self._budget, self._seed = space, budget, seed
        self._max_in_flight, self._per_seed = max_in_flight, evaluations_per_seed
        self._coordinates = Coordinates(space, tokens)
        self._begin_with_controls, self._asks_gradients = begin_with_controls, gradients
        if earlier and not begin_with_controls:
            raise ValueError(
                "begin_with_controls = False: what earlier searches measured can only be used by a "
                "search that begins with the controls"
            )
        self._knowledge: Knowledge | None = None
        if earlier:
            self._knowledge = Knowledge(earlier, space, self._coordinates, tokens)
        self._retest = Halving.affordable(budget.evaluations)
        self._searches = budget.evaluations - self._retest.evaluations
        self._design = self._make_design()
        self._groups = self._coordinates.length_groups()
        if self._knowledge is not None:
            self._groups = np.append(self._groups, self._groups.max() + 1)
        self._theta: Vector | None = None
        self._fitted = 0
        self._ledger = Ledger()
        self._gradients: dict[int, Gradient] = {}
        self._probes: list[Probe] = []
        self._x: list[Vector] = []
        self._rounds: list[list[GenerationStrategy]] = []
        self._bases: list[GenerationStrategy] = []
        self._converged: int | None = None
        self._scale: ValueScale | ReferenceScale = ValueScale(0.0, 1.0, 0.0, 1.0)

    @property
    def converged(self) -> int | None:
        """The number of evaluations after which the search had converged; None before that.

        It is decided at the start of a block, once every order is free. The search has converged if
        the best value fell by less than CONVERGED_GAIN since the search was half as long, according
        to the model's mean plus two deviations.
        """
        return self._converged

    def ask(self) -> Probe | Signal:
        """Return the next probe; WAIT while a result that its proposal needs is missing."""
        number = len(self._ledger)
        if number < self._searches:
            return self._ask_search(number)
        return self._ask_retest(number)

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)
        if isinstance(result, Measurement) and result.gradient is not None:
            self._gradients[probe.number] = result.gradient

    def _ask_search(self, number: int) -> Probe | Signal:
        known = max(0, number - self._max_in_flight + 1)
        if self._ledger.told_in_order() < known:
            return WAIT
        block, place = divmod(number, self._per_seed)
        seed = evaluation_seed(self._seed, block)
        if number == 0:
            strategy, role = self._space.start, "start"
        elif number < len(self._design):
            strategy, role = self._coordinates.to_strategy(self._design[number]), "design"
        else:
            with threadpool_limits(1):
                model = self._fit_model(known)
                if place == 0:
                    strategy, role = self._incumbents(model, known, 1)[0], "base"
                    self._bases.append(strategy)
                    self._check_convergence(model, number)
                else:
                    x = self._propose(model, number, known)
                    strategy, role = self._coordinates.to_strategy(x), "sample"
        asked = self._asks_gradients
        return self._enter(Probe(number, strategy, self._images, seed, block, role, gradient=asked))

    def _ask_retest(self, number: int) -> Probe | Signal:
        place = number - self._searches
        if place >= self._retest.evaluations:
            return DONE
        round_, contender, replicate = self._retest.place(place)
        if round_ == len(self._rounds):
            if self._ledger.told_in_order() < number:
                return WAIT
            self._rounds.append(self._contenders(round_))
        contenders = self._rounds[round_]
        strategy = contenders[min(contender, len(contenders) - 1)]
        block = -(-self._searches // self._per_seed)
        seed = evaluation_seed(self._seed, block + self._retest.first_seed(round_) + replicate)
        return self._enter(Probe(number, strategy, self._images, seed, block + round_, RETEST))

    @property
    def _images(self) -> int:
        return self._budget.images_per_evaluation

    def _enter(self, probe: Probe) -> Probe:
        self._probes.append(probe)
        self._x.append(self._coordinates.from_strategy(probe.strategy))
        return self._ledger.ask(probe)

    def _make_design(self) -> list[Vector]:
        """Make the first points: the start, the controls, and evenly spread levels and slopes.

        What earlier searches found takes the place of most evenly spread points. Gradients of the
        controls say where to go, so with them a short search has fewer.
        """
        coarse = self._coordinates.up_to(COARSE_ORDER)
        firsts = list(first_points(self._space, self._coordinates).values())
        if not self._begin_with_controls:
            firsts = firsts[:1]
        count = min(2 * len(coarse), self._searches // 6)
        # The model needs results, so the design has to last until the first ones are due.
        told_where = self._asks_gradients and self._begin_with_controls
        if told_where and not self._coordinates.is_choice.any():
            count = max(count, self._max_in_flight + FIRST_RESULTS - 1 - len(firsts))
        else:
            count = max(count, self._max_in_flight, 4)
        known = [] if self._knowledge is None else self._knowledge.best
        if known:
            count = max(0, self._max_in_flight - len(known))
        spread = spread_points(self._coordinates, coarse, count, self._seed)
        return [*firsts, *known, *spread]

    def _known_data(self, known: int) -> Data:
        """Return the data that the model sees of the first `known` probes."""
        fids = np.array(
            [math.nan if (f := self._ledger.value(i)) is None else f for i in range(known)]
        )
        x, seeds = np.stack(self._x[:known]), np.array([p.seed for p in self._probes[:known]])
        if self._knowledge is not None:
            data, self._scale = self._knowledge.data(x, fids, seeds, MOST_POINTS)
            return data
        self._scale, chosen, values = scaled(fids, MOST_POINTS)
        return Data(x[chosen], values, seeds[chosen])

    def _known_slopes(self, known: int) -> Slopes:
        """Return the derivatives that the model sees of the first `known` probes."""
        found: list[tuple[float, int]] = []
        for number in () if is_flat(self._scale) else self._gradients:
            value = self._ledger.value(number)
            if number < known and value is not None:
                found.append((value, number))
        lowest = sorted(found)[: max(1, MOST_SLOPES // (3 * self._coordinates.steps - 1))]
        measured = [
            MeasuredGradient(
                self._x[i],
                self._probes[i].strategy,
                self._gradients[i],
                self._scale.rate(value),
                self._probes[i].seed,
            )
            for value, i in lowest
        ]
        slopes = slopes_of(self._coordinates, measured)
        return slopes if self._knowledge is None else slopes_at_own_t(slopes)

    def _fit_model(self, known: int) -> Model:
        """Return the posterior given the known results, and given the expected results of probes
        in flight."""
        data = self._known_data(known)
        if self._theta is None or known >= self._fitted + max(4, self._fitted // 8):
            iterations = FIRST_FIT if self._theta is None else LATER_FITS
            self._theta = fit(data, self._groups, self._theta, iterations)
            self._fitted = known
        slopes = self._known_slopes(known)
        model = GaussianProcess(data, self._groups, self._theta, slopes)
        pending = self._probes[known:]
        if pending:
            x = np.stack(self._x[known:])
            if self._knowledge is not None:
                x = at_own_t(x)
            expected = [model.expected(row, p.seed) for row, p in zip(x, pending, strict=True)]
            completed = Data(
                np.vstack([data.x, x]),
                np.append(data.y, expected),
                np.append(data.seeds, [p.seed for p in pending]),
            )
            model = GaussianProcess(completed, self._groups, self._theta, slopes)
        return model if self._knowledge is None else AtOwnT(model)

    def _incumbents(self, model: Model, known: int, count: int) -> list[GenerationStrategy]:
        """Return the measured strategies with the lowest posterior means, without duplicates."""
        means, _ = model.predict(np.stack(self._x[:known]))
        found: list[GenerationStrategy] = []
        for i in np.argsort(means, kind="stable"):
            strategy = self._probes[i].strategy
            if strategy not in found and self._ledger.value(int(i)) is not None:
                found.append(strategy)
            if len(found) == count:
                break
        return found or [self._space.start]

    def _check_convergence(self, model: Model, number: int) -> None:
        all_free = self._finest_order(number) == self._coordinates.order.max()
        if self._converged is not None or not all_free or len(self._bases) < 2:
            return
        earlier, now = (
            self._coordinates.from_strategy(self._bases[i]) for i in (len(self._bases) // 2 - 1, -1)
        )
        gain, deviation = model.difference(earlier, now)
        low = model.predict(now[None])[0][0]
        fid, before = (self._scale.to_value(y) for y in (low, low + gain + 2 * deviation))
        # There is no meaningful share of a value <= 0: use the scale of differences instead.
        if before - fid < CONVERGED_GAIN * (fid if fid > 0 else self._scale.unit):
            self._converged = number

    def _propose(self, model: Model, number: int, known: int) -> Vector:
        """Return the point [D] with the lowest confidence bound among the orders that are free.

        The curves descend along the gradient of the bound, from the best known points and the best
        of many random ones. The choices stay those of the point where the descent starts.
        """
        rng = np.random.default_rng([self._seed, number])
        width = WIDTHS[number % len(WIDTHS)]
        free = self._coordinates.up_to(self._finest_order(number))
        reach = self._coordinates.reach()
        means, _ = model.predict(np.stack(self._x[:known]))
        best = [self._x[i] for i in np.argsort(means, kind="stable")[:3]]
        low, high = -reach[free], reach[free]
        starts = [_with_values(best[0], free, np.clip(b[free], low, high)) for b in best]
        for start, b in zip(starts, best, strict=True):
            start[self._coordinates.is_choice] = b[self._coordinates.is_choice]
        near = best[0][free] + rng.normal(size=(128, len(free))) * 0.15 * reach[free]
        wide = rng.uniform(low, high, size=(128, len(free)))
        candidates = np.clip(np.concatenate([near, wide]), low, high)
        full = np.repeat(best[0][None], len(candidates), axis=0)
        full[:, free] = candidates
        self._coordinates.choose(full[len(near) // 2 :], rng)
        mean, deviation = model.predict(full)
        promising = np.argsort(mean - width * deviation, kind="stable")[:3]
        starts += [full[i] for i in promising]

        def lower_bound(values: Vector, start: Vector) -> tuple[float, Vector]:
            value, gradient = model.bound(_with_values(start, free, values), width)
            return value, gradient[free]

        found = [
            minimize(
                lower_bound,
                start[free],
                (start,),
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low, high, strict=True)),
                options={"maxiter": 40},
            )
            for start in starts
        ]
        lowest = min(range(len(found)), key=lambda i: float(found[i].fun))
        return _with_values(starts[lowest], free, np.round(found[lowest].x, 4))

    def _finest_order(self, number: int) -> int:
        """Return the highest order that is free at this probe."""
        finest = int(self._coordinates.order.max())
        progress = number / self._searches
        if progress < COARSE_SHARE:
            return COARSE_ORDER
        share = (progress - COARSE_SHARE) / (1 - COARSE_SHARE)
        return min(finest, COARSE_ORDER + 1 + int(share * 1.5 * finest))

    def _contenders(self, round_: int) -> list[GenerationStrategy]:
        """Return the strategies of a re-test round: the model's best few in the first round, then
        the better half of the last round.

        Where choices are searched, up to half of the first are the best ones with other choices.
        """
        if round_ > 0:
            return better_half(self._rounds[-1], self._probes[self._searches :], self._ledger)
        with threadpool_limits(1):
            model = self._fit_model(self._searches)
            best = self._incumbents(model, self._searches, self._retest.contenders)
            if len(self._coordinates.combinations()) > 1:
                measured = [x for i, x in enumerate(self._x) if self._ledger.value(i) is not None]
                best = beside_other_choices(best, self._coordinates, measured, model.predict)
        return best[: self._retest.contenders]


def _with_values(point: Vector, free: npt.NDArray[np.int64], values: Vector) -> Vector:
    """Return a point with other values of the free coefficients."""
    moved = point.copy()
    moved[free] = values
    return moved
