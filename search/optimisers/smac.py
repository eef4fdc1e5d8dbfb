"""SMAC3 as an optimiser: a random forest of the log values, and its expected improvement.

It is SMAC's HyperparameterOptimizationFacade with its own settings (Lindauer et al. 2022, "SMAC3: A
Versatile Bayesian Optimization Package for Hyperparameter Optimization"), except that the forest is
trained anew for every proposal, that each strategy is measured once, and that the first points are
those of `ModelSampler`. SMAC knows which strategies are in flight, and does not ask for them again.
Since version 2.4 its forest is that of scikit-learn, so neither pyrfr nor a compiler is needed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

try:
    from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Float
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.main.config_selector import ConfigSelector
    from smac.model.random_forest.random_forest import RandomForest
    from smac.runhistory.dataclasses import TrialInfo, TrialValue
except ImportError:
    raise ValueError(
        "optimiser smac: SMAC3 is not installed: pip install 'autonat[smac]'"
    ) from None

from search.dimensions import Dimension, SearchSpace
from search.optimisers.model_sampler import ModelSampler
from search.optimisers.samplers import optimiser_of

MOST_LEAVES = 2**14
"""More than a search has evaluations."""
LOWEST = 1e-5
"""SMAC's MINIMAL_COST_FOR_LOG."""
SEED = 0
"""SMAC's seed of the evaluations, which it does not choose here."""


class SMACSampler(ModelSampler):
    """Proposes what SMAC asks for when it is told all known values."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self._configurations = ConfigurationSpace()
        self._configurations.add([_parameter(d) for d in space.dimensions])

    def propose(
        self, known: Sequence[FrozenTrial], in_flight: Sequence[FrozenTrial], seed: int
    ) -> dict[str, Any]:
        """See `ModelSampler.propose`."""
        # SMAC writes files, which nobody reads.
        with tempfile.TemporaryDirectory() as folder:
            facade = self._facade(seed % 2**32, Path(folder))
            values = [float(trial.value or 0.0) for trial in known]
            for trial, cost in zip(known, positive(values), strict=True):
                facade.tell(self._told(trial), TrialValue(cost=cost), save=False)
            for trial in in_flight:
                facade.runhistory.add_running_trial(self._told(trial))
            found = dict(facade.ask().config)
        return {d.name: _within(d, found[d.name]) for d in self.space.dimensions}

    def _facade(self, seed: int, folder: Path) -> Facade:
        logging.getLogger("smac").setLevel(logging.ERROR)
        scenario = Scenario(
            self._configurations, output_directory=folder, deterministic=True, seed=seed
        )
        return Facade(
            scenario,
            model=_forest(scenario),
            initial_design=Facade.get_initial_design(scenario, n_configs=0),
            config_selector=ConfigSelector(scenario, retrain_after=1),
            logging_level=False,
            overwrite=True,
        )

    def _told(self, trial: FrozenTrial) -> TrialInfo:
        values = {d.name: trial.params[d.name] for d in self.space.dimensions}
        return TrialInfo(Configuration(self._configurations, values), seed=SEED)


def positive(values: Sequence[float]) -> list[float]:
    """Return the values or, where some are too low for SMAC, all of them as shares of their range,
    from 0.01 to 1.01.

    SMAC takes logarithms, and all values below 1e-5, as estimates of KID may be, for the same.
    """
    low, high = min(values, default=1.0), max(values, default=1.0)
    if low >= LOWEST:
        return list(values)
    return [0.01 + (value - low) / (high - low or 1.0) for value in values]


def _forest(scenario: Scenario) -> RandomForest:
    """Return the forest of the facade, with one thread: several would add up in any order.

    scikit-learn reserves memory for the most leaves, by default a million, in each tree.
    """
    return RandomForest(
        scenario.configspace,
        log_y=True,
        n_trees=10,
        ratio_features=1.0,
        min_samples_split=2,
        min_samples_leaf=1,
        max_leaf_nodes=MOST_LEAVES,
        n_jobs=1,
        seed=scenario.seed,
    )


def _parameter(dimension: Dimension) -> Any:
    """Return SMAC's parameter of a dimension."""
    if dimension.values:
        return Categorical(dimension.name, dimension.values)
    bound = dimension.range
    return Float(dimension.name, (float(bound.low), float(bound.high)), log=bool(bound.log))


def _within(dimension: Dimension, value: Any) -> float | str:
    """Return a value of SMAC's as one of the dimension: a scale and back may leave its range."""
    if dimension.values:
        return str(value)
    return min(max(float(value), dimension.range.low), dimension.range.high)


smac = optimiser_of(SMACSampler)
