"""One search from end to end: its studies, run side by side, then the final test of the winners.

Winners are what the searches themselves saw as best; the test measures them, and the controls, on
seeds that no search uses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from search.controls import CONTROLS
from search.first_strategies import START, first_strategies
from search.optimiser import WAIT, Signal, Training
from search.optimisers.replicates import Replicates
from search.registry import ALL_OPTIMISERS, make_optimiser
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.objective import Objective, describe
from trials.record.databases import without_password
from trials.record.record import ALTERNATION, Record, not_ours, study_names, taken
from trials.runners.study import Job, Study
from trials.searches.settings import SearchSettings

Listener = Callable[[Study], None]
Candidate = tuple[GenerationStrategy, Training | None]
SUFFIXES = (*ALL_OPTIMISERS, "test")
"""A search's studies are called NAME-SUFFIX."""

TESTED = ("strategies", "trainings")
"""The settings of a final test that say what it measures, by name."""


class SearchRun:
    """A source of all the jobs of a search. While one study waits, the next is served.

    Args:
        settings: what to do, completed.
        objective: prepared.
        lab: where the record is.
        resume: go on with the studies of that name; else they must be new.
        retry_failed: of what is resumed, measure again what failed.
        listener: called after every evaluation with its study.

    Raises:
        ValueError: settings that are not valid, studies that exist (or, resumed, do not), or
            that were made with other settings: what differs is named.
    """

    def __init__(
        self,
        settings: SearchSettings,
        objective: Objective,
        lab: Lab,
        *,
        resume: bool,
        retry_failed: bool = False,
        listener: Listener,
    ) -> None:
        self.settings = settings
        self._lab, self._listener = lab, listener
        self._described = describe(settings.objective, settings.objective_settings, objective)
        self._space, self._tokens = settings.space(), objective.tokens
        settings.generation_space().start.masked_counts(objective.tokens)
        self._existing = set(study_names(lab.record_url))
        # Everything is made before anything is written, so that a refusal leaves no trace.
        made = {name: self._optimiser(name) for name in settings.optimisers}
        records = {name: self._record(name, self._search_settings(name), resume) for name in made}
        if retry_failed:
            self._retry([*records.values()])
        evaluations = settings.budget_of_one().evaluations
        self.studies = [
            Study(optimiser, records[name], self._space, evaluations, listener)
            for name, optimiser in made.items()
        ]
        self.test: Study | None = None

    def next(self) -> Job | Signal:
        """See `Source.next`."""
        waiting = False
        for study in self.studies:
            job = study.next()
            if isinstance(job, Job):
                return job
            waiting |= job is WAIT
        if waiting or not all(study.finished for study in self.studies):
            return WAIT
        if self.test is None:
            self.test = self._test_study()
        return self.test.next()

    @property
    def finished(self) -> bool:
        """Whether every search and the final test are done."""
        return self.test is not None and self.test.finished

    def candidates(self) -> dict[str, Candidate]:
        """What the final test measures, by name: each search's best, and the controls; where
        models are trained, the one control is the search's own start."""
        found: dict[str, Candidate] = {}
        for name, study in zip(self.settings.optimisers, self.studies, strict=True):
            best = study.record.best()
            if best is not None:
                found[name] = (best.strategy, best.training)
        if self.settings.what == "generation":
            controls = self.settings.controls
            return found | {name: (CONTROLS[name](self.settings.steps), None) for name in controls}
        for evaluation in self.studies[0].record.evaluations:
            if evaluation.probe.role == START:
                found[START] = (evaluation.probe.strategy, evaluation.probe.training)
        return found

    def _optimiser(self, name: str) -> Any:
        settings = self.settings
        own = settings.optimiser_settings[name]
        return make_optimiser(
            name,
            self._space,
            settings.budget_of_one(),
            settings.seed,
            own,
            self._tokens,
            settings.begins_with_controls,
        )

    def _search_settings(self, optimiser: str) -> dict[str, Any]:
        return {
            **self._described,
            "search_name": self.settings.full_name(),
            "search": self.settings.problem(),
            "kind": "search",
            "optimiser": optimiser,
            "optimiser_settings": self.settings.optimiser_settings[optimiser],
            "space": self._space.to_json(),
            **({"first": self._first()} if self.settings.begins_with_controls else {}),
        }

    def _first(self) -> list[str]:
        return [*first_strategies(self.settings.generation_space(), self._tokens)]

    def _test_study(self) -> Study:
        candidates = self.candidates()
        settings = self.settings
        strategies = {name: strategy for name, (strategy, _) in candidates.items()}
        trainings = {name: t for name, (_, t) in candidates.items() if t is not None}
        tested = {
            "strategies": {name: s.to_json() for name, s in strategies.items()},
            "trainings": {name: t.strategy.to_json() for name, t in trainings.items()},
        }
        record = self._record("test", self._test_settings(tested), resume=True)
        optimiser = Replicates(strategies, settings.test_images, settings.test_seeds, trainings)
        total = len(candidates) * len(settings.test_seeds)
        return Study(optimiser, record, None, total, self._listener)

    def _test_settings(self, tested: dict[str, Any]) -> dict[str, Any]:
        return {
            **self._described,
            "search_name": self.settings.full_name(),
            "search": self.settings.problem(),
            "kind": "test",
            **tested,
        }

    def _retry(self, records: list[Record]) -> None:
        """Have measured again what failed. Other winners may come of it, so that the final test
        is reopened, before anything else is written, and what was published is not the record's.

        Args:
            records: of the searches.
        """
        name = f"{self.settings.full_name()}-test"
        if name in self._existing:
            test = Record.open(self._lab.record_url, name)
            _compare(test, self._test_settings({}), TESTED)
            records = [test, *records]
        if not any(record.failed for record in records):
            return
        results = self._lab.results(self.settings.full_name())
        (results / "best.json").unlink(missing_ok=True)
        if name in self._existing:
            test.reopen()
        for record in records:
            record.retry_failed()

    def _record(self, suffix: str, settings: dict[str, Any], resume: bool) -> Record:
        name = f"{self.settings.full_name()}-{suffix}"
        if not (resume and name in self._existing):
            return Record.create(self._lab.record_url, name, settings)
        record = Record.open(self._lab.record_url, name)
        _compare(record, settings, TESTED if record.reopened else ())
        if record.settings != settings:
            record.change_settings(settings)
        return record


def searches_of(known: Collection[str]) -> set[str]:
    """The names of the searches that studies of these names belong to."""
    ends = [(study, f"-{suffix}") for study in known for suffix in SUFFIXES]
    return {study.removesuffix(end) for study, end in ends if study.endswith(end)}


def has_begun(name: str, known: Collection[str]) -> bool:
    """Whether studies of a search, or of an alternation, of that name are among these names."""
    return any(f"{name}-{suffix}" in known for suffix in (*SUFFIXES, ALTERNATION))


def _compare(record: Record, settings: dict[str, Any], but: Collection[str]) -> None:
    """See whether a study has these settings.

    Args:
        record: the study's.
        settings: given.
        but: which of them may differ.

    Raises:
        ValueError: they differ.
    """
    given = {key: value for key, value in settings.items() if key not in but}
    own = {k: value for k, value in _with_start(record.settings).items() if k not in but}
    differing = differences(own, given)
    if differing:
        raise ValueError(f"study {record.name} was made with {'; '.join(differing[:3])}")


def refuse_taken(lab: Lab, name: str) -> None:
    """See whether a search of that name can begin: two searches of one name could not be told
    apart, nor the first be finished.

    Raises:
        ValueError: there is one, or a study that one of its own would be called like.
    """
    found = taken(lab.record_url, [f"{name}-{suffix}" for suffix in (*SUFFIXES, ALTERNATION)])
    for study, ours in found.items():
        if not ours:
            raise not_ours(lab.record_url, study)
    if found:
        studies = "study" if len(found) == 1 else "studies"
        raise ValueError(
            f"search {name} exists already, with the {studies} {', '.join(found)}: "
            f"--resume {name} goes on with it, another --name begins another"
        )


def recorded_settings(lab: Lab, name: str) -> dict[str, Any]:
    """The settings of the search of that name (see `SearchSettings.problem`).

    Raises:
        ValueError: there is none; the known ones are listed.
    """
    alternation = f"{name}-{ALTERNATION}"
    if alternation in study_names(lab.record_url):
        return dict(Record.open(lab.record_url, alternation).settings["search"])
    return dict(_with_start(search_records(lab, name)[0].settings)["search"])


def _with_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A study's settings, with the strategy that it started from in place of a strategy file.

    Records of earlier versions name the file, which may have moved with its lab; the space that
    they hold beside it has the strategy.
    """
    start, space = settings["search"].get("start"), settings.get("space")
    if space is None or not isinstance(start, str) or start in CONTROLS:
        return dict(settings)
    generation = space.get("generation", space)
    strategy = generation.get("start", generation)
    return {**settings, "search": {**settings["search"], "start": strategy}}


def search_records(lab: Lab, name: str) -> list[Record]:
    """The records of a search's studies, the final test's last if there is one.

    Raises:
        ValueError: there is no such search; the known ones are listed.
    """
    known = study_names(lab.record_url)
    named = [Record.open(lab.record_url, f"{name}-{s}") for s in SUFFIXES if f"{name}-{s}" in known]
    if not named:
        names = ", ".join(sorted(searches_of(known))) or "none"
        raise ValueError(
            f"no search {name!r} in {without_password(lab.record_url)}; known: {names}"
        )
    return named


def is_finished(records: list[Record]) -> bool:
    """Whether nothing of a search is left to do: its final test, which begins when all its methods
    are done, is complete.

    Args:
        records: of one search (see `search_records`).
    """
    test = records[-1].settings
    if test["kind"] != "test":
        return False
    if records[-1].reopened:
        return False
    return len(records[-1].evaluations) >= len(test["strategies"]) * len(
        test["search"]["test_seeds"]
    )


def differences(recorded: Any, given: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, as lines "steps = 8, not 4"."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        keys = [*recorded, *(key for key in given if key not in recorded)]
        parts = [
            differences(recorded.get(k), given.get(k), f"{where}.{k}" if where else k) for k in keys
        ]
        return [line for part in parts for line in part]
    return [] if recorded == given else [f"{where} = {recorded!r}, not {given!r}"]
