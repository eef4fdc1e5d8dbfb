"""The whole of AutoNAT: rounds of a training search and a generation search (section 4).

Round R consists of two searches, NAME-rR-training and NAME-rR-generation. The first trains a model
for every evaluation and measures it with the current generation strategy. The second searches
generation strategies for the best model of the first. Each starts where the last round ended. The
last round is the one that improves the final test by less than its standard error.

The study of the alternation itself holds its settings and no trials. Everything else is in the
records of its searches, so an alternation is resumed by going through its searches again.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from search.files import write_whole
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.known_files import settings_here
from trials.objectives.objective import Trains, lacks_method, load_objective
from trials.record.differences import require_same
from trials.record.hold import hold
from trials.record.kinds import ALTERNATION, alternation_study
from trials.record.place import note_place
from trials.record.record import Record
from trials.record.searches import has_begun, has_finished, refuse_taken
from trials.results.rounds import Round, best_round, half_name, round_value
from trials.searches.launch import check
from trials.searches.reading import read_settings
from trials.searches.resuming import resumed_settings
from trials.searches.setting_groups import Rounds, Trained, WhereItRuns
from trials.searches.settings import AlternationSettings, SearchSettings

Search = Callable[[SearchSettings, bool], Path | None]
"""Runs or resumes a search and publishes it; returns the path of its best strategy file, or None if
it was interrupted."""


def alternate(settings: AlternationSettings, *, resume: bool, search: Search) -> list[Round] | None:
    """Run rounds until one hardly improves on the last, or until `settings.rounds` are done.

    Args:
        settings: of the alternation, completed.
        resume: resume the alternation of that name; otherwise it must not exist.
        search: runs one half of a round.

    Returns:
        The rounds, or None if one was interrupted.

    Raises:
        ValueError: a setting is not valid, a new alternation exists already, or the one to resume
            does not exist or has other settings.
    """
    lab = settings.open_lab()
    _check(settings, lab)
    _create_or_check(settings, lab, resume)
    rounds: list[Round] = []
    with hold(lab.record_url, alternation_study(settings.full_name())):
        note_place(lab.record_url, alternation_study(settings.full_name()), settings.place())
        while not has_ended(rounds, settings.rounds):
            last = rounds[-1].best if rounds else None
            number = len(rounds) + 1
            training = training_half(settings, number, last, lab)
            model = _searched(training, lab, search)
            if model is None:
                return None
            generation = generation_half(settings, number, model, lab)
            best = _searched(generation, lab, search)
            if best is None:
                return None
            rounds.append(Round(training.full_name(), generation.full_name(), best))
    _keep_best(settings, rounds, lab)
    return rounds


def training_half(
    settings: AlternationSettings, number: int, last: StrategyFile | None, lab: Lab
) -> SearchSettings:
    """The settings of a round's training search, which starts from the last round's best
    strategy."""
    changes: dict[str, object] = {
        "what": "training",
        "optimisers": [settings.training_optimiser],
        "optimiser_settings": _settings_of(settings, settings.training_optimiser),
    }
    if last is not None and last.training is not None and last.objective is not None:
        changes["training_start"] = last.training.parameters()
        if settings.fine_tune:
            changes["fine_tune_from"] = last.objective["settings"]["checkpoint"]
    return _half(settings, number, changes, lab)


def generation_half(
    settings: AlternationSettings, number: int, model: StrategyFile, lab: Lab
) -> SearchSettings:
    """The settings of a round's generation search, on the model that its training search found."""
    own = settings_here(model, lab.record_url)
    if settings.test_metric is not None:  # which the file names in place of that of the search
        searched = settings.objective_settings.get("metric")
        own = {key: value for key, value in own.items() if key != "metric"}
        own |= {} if searched is None else {"metric": searched}
    return _half(settings, number, _generation_changes(settings, own), lab)


def _generation_changes(
    settings: AlternationSettings, objective: dict[str, object]
) -> dict[str, object]:
    """The settings in which a generation search differs; a scheduler stops only trainings."""
    return {
        "what": "generation",
        "scheduler": None,
        "objective_settings": objective,
        "optimiser_settings": _settings_of(settings, settings.optimisers[0]),
    }


def _half(
    settings: AlternationSettings, number: int, changes: dict[str, object], lab: Lab
) -> SearchSettings:
    """The settings of one half of a round, which are the alternation's with changes."""
    name = settings.full_name()
    others = {"what", *Rounds.model_fields}
    if changes["what"] == "generation":
        others |= Trained.model_fields.keys()
    values = settings.model_dump(exclude=others)
    if number > 1:
        values["start"] = lab.results(half_name(name, number - 1, "generation")) / "best.json"
    own_name = half_name(name, number, str(changes["what"]))
    return read_settings(values | {"name": own_name, "alternation": name} | changes)


def _settings_of(settings: AlternationSettings, optimiser: str) -> dict[str, dict[str, object]]:
    """The settings of one optimiser, by its name; empty where none are given."""
    given = settings.optimiser_settings.get(optimiser)
    return {} if given is None else {optimiser: given}


def _searched(half: SearchSettings, lab: Lab, search: Search) -> StrategyFile | None:
    """The best strategy of half a round, read from its file if the search is finished.

    Returns:
        The strategy file, or None if the search was interrupted.
    """
    name = half.full_name()
    best = lab.results(name) / "best.json"
    begun = has_begun(lab.record_url, name)
    if begun:
        here = half.model_dump(include={*WhereItRuns.model_fields}, exclude_none=True)
        recorded = resumed_settings(name, here, None)
        # The number of workers may differ, and with it how many probes are in flight at once.
        now = half.completed()
        require_same(f"search {name}", _without_flight(recorded), _without_flight(now))
        half = recorded
    # An unfinished search has that file, too, once it was reported.
    if not (best.exists() and has_finished(lab.record_url, name)):
        found = search(half, begun)
        if found is None:
            return None
        best = found
    return StrategyFile.read(best)


def _without_flight(settings: SearchSettings) -> dict[str, object]:
    """The problem of a search without the numbers of probes in flight."""
    problem = settings.problem()
    for own in problem["optimiser_settings"].values():
        own.pop("max_in_flight", None)
    return problem


def _check(settings: AlternationSettings, lab: Lab) -> None:
    """Check both halves of a round before anything is trained."""
    if len(settings.optimisers) > 1:
        raise ValueError(
            f"optimisers: expected one for the generation searches of an alternation, got "
            f"{', '.join(settings.optimisers)}"
        )
    objective = load_objective(settings.objective, settings.objective_settings)
    if not isinstance(objective, Trains):
        raise lacks_method(settings.objective, "train")
    generation = _generation_changes(settings, settings.objective_settings)
    for half in (
        training_half(settings, 1, None, lab),
        _half(settings, 1, generation, lab),
    ):
        check(half.completed(), objective, lab)


def _create_or_check(settings: AlternationSettings, lab: Lab, resume: bool) -> None:
    """Create the alternation's study or, to resume it, compare its settings with these."""
    name = alternation_study(settings.full_name())
    told = {"kind": ALTERNATION, "search_name": settings.full_name(), "search": settings.problem()}
    if not resume:
        refuse_taken(lab.record_url, settings.full_name(), ())
        Record.create(lab.record_url, name, told)
        return
    require_same(f"study {name}", Record.open(lab.record_url, name).settings, told)


def has_ended(rounds: list[Round], most: int) -> bool:
    """Whether an alternation of at most so many rounds is done: it has them, or the last round
    improved on the round before it by less than its standard error."""
    if len(rounds) >= most:
        return True
    if len(rounds) < 2:
        return False
    test = rounds[-1].best.test
    error = 0.0 if test is None or test.standard_error is None else test.standard_error
    before, now = round_value(rounds[-2]), round_value(rounds[-1])
    return math.isinf(now) or before - now < error


def _keep_best(settings: AlternationSettings, rounds: list[Round], lab: Lab) -> None:
    source = lab.results(best_round(rounds).generation) / "best.json"
    target = lab.make_results(settings.full_name()) / "best.json"
    with write_whole(target) as partial:
        shutil.copyfile(source, partial)
