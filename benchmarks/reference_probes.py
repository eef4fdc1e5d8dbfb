"""Reference probes: the probes of all optimisers, to notice any change of a search.

    python -m benchmarks.reference_probes      # writes tests/numbers/probes.json; half a minute

Probes are measured by a formula, without a generator or noise of the machine. For each search the
file holds a digest of all probes, and the first three and the last probe in full, to show a
difference. Optuna's samplers may propose other probes in another version of Optuna, so the file
records the version.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.reference_numbers import arithmetic
from models.threads import one_thread
from search.measurement import Failure, Measurement
from search.optimiser import DONE, Budget, Optimiser, Probe, TrainingBudget
from search.registry import (
    JOINT_OPTIMISERS,
    OPTIMISERS,
    TRAINING_OPTIMISERS,
    make_optimiser,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy

FILE = Path(__file__).parents[1] / "tests" / "numbers" / "probes.json"
EVALUATIONS = 60
SLOW = {"gp": 25}
"""Fewer evaluations for slow optimisers, except in searches of generation strategies."""
IMAGES, TRAINING_STEPS, TOKENS, SEED = 100, 50, 64, 3


def value_of(probe: Probe) -> float:
    """Return the value of a bowl, wider in some values than in others, with a wave and noise."""
    values = list(probe.strategy.parameters().values())
    if probe.training is not None:
        values = [*probe.training.strategy.parameters().values(), *values]
    bowl = sum((value - 0.3) ** 2 / (1 + i) for i, value in enumerate(values))
    passes = probe.strategy.forward_passes() / 100
    return 1 + bowl + 0.1 * math.cos(9 * values[0]) + passes + 1e-3 * (probe.seed % 7)


def told(probe: Probe, failing: bool) -> Measurement | Failure:
    """Return the result of a probe; if `failing`, some fail or are NaN."""
    if failing and probe.number % 5 == 4:
        return Failure("out of memory")
    value = math.nan if failing and probe.number % 10 == 6 else value_of(probe)
    trained = 0 if probe.training is None else TRAINING_STEPS
    passes = probe.strategy.forward_passes()
    return Measurement(value, None, IMAGES, passes, 0.0, training_steps=trained)


def asked(optimiser: Optimiser, failing: bool) -> list[Probe]:
    """Return all probes of a search with one worker."""
    probes: list[Probe] = []
    while (probe := optimiser.ask()) is not DONE:
        if not isinstance(probe, Probe):
            raise RuntimeError("the optimiser waits with nothing in flight")
        probes.append(probe)
        optimiser.tell(probe, told(probe, failing))
    return probes


def in_clear(probe: Probe) -> dict[str, Any]:
    """Return all fields of a probe as JSON values."""
    training = probe.training
    return {
        "number": probe.number,
        "strategy": probe.strategy.parameters(),
        "guidance floor": probe.strategy.guidance_floor,
        "images": probe.images,
        "seed": probe.seed,
        "step": probe.step,
        "role": probe.role,
        "training": None
        if training is None
        else {**training.strategy.to_json(), "steps": training.steps, "seed": training.seed},
    }


def searches() -> Iterator[tuple[str, Callable[[], Optimiser], bool]]:
    """Yield names of searches, functions that make their optimisers, and whether some fail."""
    make = partial(make_optimiser, seed=SEED)
    whole = Budget(EVALUATIONS * IMAGES, IMAGES)
    for name in OPTIMISERS:
        space = Space(GenerationStrategy.maskgit(4))
        yield f"generation, {name}", partial(make, name, space, whole, tokens=TOKENS), False
    for name in OPTIMISERS:
        space = Space(GenerationStrategy.maskgit(3), frozen=("sampling_temperature",))
        budget = Budget(SLOW.get(name, EVALUATIONS) * IMAGES, IMAGES)
        made = partial(make, name, space, budget, tokens=TOKENS, controls_first=True)
        yield f"generation, {name}, controls first, some fail", made, True
    start = TrainingStrategy("beta", {"alpha": 2.0, "beta": 1.0})
    training = TrainingSpace(start, GenerationStrategy.maskgit(2))
    joint = JointSpace(training, Space(GenerationStrategy.maskgit(2)))
    for what, names, space_of_both in (
        ("training", TRAINING_OPTIMISERS, training),
        ("joint", JOINT_OPTIMISERS, joint),
    ):
        for name in names:
            steps = SLOW.get(name, EVALUATIONS) * TRAINING_STEPS
            trainings = TrainingBudget(steps, TRAINING_STEPS, IMAGES)
            yield f"{what}, {name}", partial(make, name, space_of_both, trainings), False


def summary(make: Callable[[], Optimiser], failing: bool) -> dict[str, Any]:
    """Summarise the probes of a search: a digest of all, the first three and the last."""
    with one_thread():
        probes = [in_clear(probe) for probe in asked(make(), failing)]
    digest = hashlib.sha256(json.dumps(probes).encode()).hexdigest()
    return {"asked": len(probes), "sha256": digest, "first": probes[:3], "last": probes[-1]}


def main() -> None:
    made_with = {"optuna": version("optuna"), "arithmetic": arithmetic()}
    found = {name: summary(make, failing) for name, make, failing in searches()}
    text = json.dumps({"made with": made_with, "searches": found}, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")
    print(f"{FILE}: {len(found)} searches")


if __name__ == "__main__":
    main()
