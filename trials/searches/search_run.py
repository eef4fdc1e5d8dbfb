"""One search from start to end: its studies, run side by side, then the final test of the winners.

The winner of a study is the strategy that its own evaluations show to be best. The final test
measures the winners and the controls on seeds that no search uses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from search.controls import CONTROLS, START
from search.earlier import EarlierSearch
from search.first_strategies import first_strategies
from search.optimiser import WAIT, Signal, Training
from search.optimisers.replicates import Replicates
from search.progress import SearchProgress
from search.registry import make_optimiser
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.objective import Objective
from trials.objectives.other_metric import differs_in_test
from trials.record.differences import differences, require_same
from trials.record.kinds import SEARCH, TEST, final_test_study
from trials.record.record import Record
from trials.record.searches import with_start
from trials.record.studies import study_names
from trials.results.progress import controls_measured_first, search_progress
from trials.runners.study import Job, Study
from trials.searches.earlier_searches import described_in, earlier_searches
from trials.searches.settings import SearchSettings

Listener = Callable[[Study], None]
Candidate = tuple[GenerationStrategy, Training | None]
TESTED = ("strategies", "trainings")
"""The settings of a final test that hold the tested strategies, by name."""


class SearchRun:
    """The source of all jobs of a search. While one study waits, the next one provides jobs.

    Args:
        settings: of the search, completed.
        objective: the prepared objective.
        lab: the lab with the record.
        resume: resume the studies of that name; otherwise they must not exist.
        retry_failed: measure failed evaluations of the resumed studies again.
        listener: called with a study after each of its evaluations.

    Raises:
        ValueError: a setting is not valid, studies of a new search exist already, or the recorded
            studies have other settings; the differences are named.
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
        self._reported = differs_in_test(objective, self._described, settings.test_metric)
        self._space, self._tokens = settings.space(), objective.tokens
        settings.generation_space().start.masked_counts(objective.tokens)
        self._existing = set(study_names(lab.record_url))
        self._earlier = self._earlier_searches()
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
        self._measured_first = controls_measured_first(self.studies[0].record.settings)

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

    def progress(self, since: datetime) -> SearchProgress:
        """How far the search is; `since` says when this session of it began."""
        studies = [*self.studies, *([] if self.test is None else [self.test])]
        return search_progress(
            [study.record for study in studies],
            since,
            {study.record.name: study.in_flight for study in studies},
            self._measured_first,
        )

    @property
    def finished(self) -> bool:
        """Whether every search and the final test are done."""
        return self.test is not None and self.test.finished

    def candidates(self) -> dict[str, Candidate]:
        """The strategies that the final test measures, by name.

        They are the winner of each method, and the controls. Where models are trained, the only
        control is the start of the search.
        """
        found: dict[str, Candidate] = {}
        for name, study in zip(self.settings.optimisers, self.studies, strict=True):
            best = study.record.best()
            if best is not None:
                found[name] = (best.strategy, best.training)
        if self.settings.what == "generation":
            return found | {name: (self._control(name), None) for name in self.settings.controls}
        for evaluation in self.studies[0].record.evaluations:
            if evaluation.probe.role == START:
                found[START] = (evaluation.probe.strategy, evaluation.probe.training)
        return found

    def _control(self, name: str) -> GenerationStrategy:
        if name == START:
            return self.settings.generation_space().start
        return CONTROLS[name](self.settings.steps)

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
            self._earlier,
        )

    def _earlier_searches(self) -> list[EarlierSearch]:
        """The searches to learn from, which the same model was measured in.

        Raises:
            ValueError: as in `earlier_searches`; or the model or the protocol was another.
        """
        url = self._lab.record_url
        for name in self.settings.learns_from:
            recorded, ours = described_in(url, name), self._described
            if differing := differences(recorded, {part: ours[part] for part in recorded}):
                raise ValueError(
                    f"learn_from: search {name} did not measure the same: it has {differing[0]}"
                )
        return earlier_searches(url, self.settings)

    def _search_settings(self, optimiser: str) -> dict[str, Any]:
        return {
            **self._described,
            "search_name": self.settings.full_name(),
            "search": self.settings.problem(),
            "kind": SEARCH,
            "optimiser": optimiser,
            "optimiser_settings": self.settings.optimiser_settings[optimiser],
            "space": self._space.to_json(),
            **({"first": self._first()} if self.settings.begins_with_controls else {}),
            **({"reported": self._reported} if self._reported else {}),
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
        record = self._record(TEST, self._test_settings(tested), resume=True)
        optimiser = Replicates(
            strategies,
            settings.test_images,
            settings.test_seeds,
            trainings,
            settings.test_metric if self._reported else None,
        )
        total = len(candidates) * len(settings.test_seeds)
        return Study(optimiser, record, None, total, self._listener)

    def _test_settings(self, tested: dict[str, Any]) -> dict[str, Any]:
        return {
            **self._described,
            **self._reported,
            "search_name": self.settings.full_name(),
            "search": self.settings.problem(),
            "kind": TEST,
            **tested,
        }

    def _retry(self, records: list[Record]) -> None:
        """Have failed evaluations measured again.

        Since that may change the winners, the final test is reopened before anything else is
        written.

        Args:
            records: of the methods.
        """
        name = final_test_study(self.settings.full_name())
        if name in self._existing:
            test = Record.open(self._lab.record_url, name)
            _require_settings(test, self._test_settings({}), TESTED)
            records = [test, *records]
        if not any(record.failed for record in records):
            return
        if name in self._existing:
            test.reopen()
        for record in records:
            record.retry_failed()

    def _record(self, suffix: str, settings: dict[str, Any], resume: bool) -> Record:
        name = f"{self.settings.full_name()}-{suffix}"
        if not (resume and name in self._existing):
            return Record.create(self._lab.record_url, name, settings)
        record = Record.open(self._lab.record_url, name)
        _require_settings(record, settings, TESTED if record.reopened else ())
        if record.settings != settings:
            record.change_settings(settings)
        return record


def _require_settings(record: Record, settings: dict[str, Any], but: Collection[str]) -> None:
    """Check that a study has these settings.

    Args:
        record: of the study.
        settings: the given ones.
        but: names of settings that may differ.

    Raises:
        ValueError: the settings differ.
    """
    given = {key: value for key, value in settings.items() if key not in but}
    own = {k: value for k, value in with_start(record.settings).items() if k not in but}
    require_same(f"study {record.name}", own, given)
