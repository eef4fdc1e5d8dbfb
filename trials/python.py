"""The interface for Python: search, open a search again, measure a strategy.

`import autonat` offers these names. They do what the command line does, and its error lines are the
messages of `ValueError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.controls import best_searched, ranked
from search.final_test import FinalTest
from search.number_text import with_error
from search.reading import shown
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.user_code import note_own_code
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.drawing import sampled
from trials.objectives.known_files import protocol_without_folders, settings_here
from trials.objectives.objective import (
    OBJECTIVES,
    Objective,
    accepted,
    lacks_method,
)
from trials.objectives.pictures import Samples
from trials.objectives.typed_settings import settings_of
from trials.presets.presets import read_strategy
from trials.progress import LiveProgress
from trials.quiet import without_chatter
from trials.record.differences import differences
from trials.record.kinds import SEARCH
from trials.record.record import Record
from trials.record.searches import halves_of, recorded_settings, search_records
from trials.results.anchors import Anchor, recorded_anchors
from trials.results.results import MethodResult
from trials.results.rounds import recorded_results

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import plotly.graph_objects as go


@dataclasses.dataclass(frozen=True, repr=False)
class Search:
    """A search and its results.

    Attributes:
        name: of the search, for `load` and the command line.
        lab: the lab that holds it.
        results: one for each method and control, with the value of its final test.
        anchors: reference values under the same protocol: those of real images, and of one image
            repeated again and again.
        objective: the objective, if it was given as an instance; None if it was given by name.
    """

    name: str
    lab: Lab
    results: list[MethodResult]
    anchors: list[Anchor]
    objective: Objective | None = None

    @property
    def folder(self) -> Path:
        """The folder with its strategy files and its report."""
        return self.lab.results(self.name)

    @property
    def strategy_file(self) -> StrategyFile:
        """The strategy file of the searched strategy with the lowest final test.

        Raises:
            ValueError: the file does not exist; `autonat report NAME` writes it.
        """
        return StrategyFile.read(self.folder / "best.json")

    @property
    def best(self) -> GenerationStrategy:
        """The searched strategy with the lowest final test."""
        return self.strategy_file.generation

    def dataframe(self) -> pd.DataFrame:
        """All evaluations of all methods, in the order in which they finished.

        The columns are `method` and those of `trials.record.record.Record.frame`.
        """
        import pandas as pd

        of_methods = [r for r in self._records() if r.settings["kind"] == SEARCH]
        frames = [r.frame().assign(method=r.settings["optimiser"]) for r in of_methods]
        table = pd.concat(frames, ignore_index=True)
        metric = of_methods[0].metric
        table = table.rename(columns={"fid": metric, "fid_se": f"{metric}_se"})
        return table[["method", *(name for name in table.columns if name != "method")]]

    def figures(self) -> dict[str, go.Figure]:
        """Plotly figures, by name.

        "schedules" shows the best strategies, "search" the best value so far against the images
        generated, and "final test" the final tests.
        """
        from dashboards.result_figures import (
            draw_progress,
            draw_schedules,
            draw_tests,
            labelled,
        )

        results = self.results
        named, steps = labelled(results), (best_searched(results) or results[0]).strategy.steps
        tokens = self._records()[0].settings["objective"]["tokens"]
        return {
            "schedules": draw_schedules(named, tokens, steps),
            "search": draw_progress(named, steps, results[0].search_metric),
            "final test": draw_tests(named),
        }

    def sample(
        self, images: int = 16, seed: int = 0, progress: bool = True
    ) -> npt.NDArray[np.uint8]:
        """Generate images with the best strategy.

        Args:
            images: n, how many.
            seed: of the images.
            progress: show the progress of preparing the objective.

        Returns:
            The images, uint8 [n, H, W] or [n, H, W, 3].

        Raises:
            ValueError: the objective has no images to show, or its name is no longer known.
        """
        from trials.objectives.preparing import prepared

        file = self.strategy_file
        name = str((file.objective or {})["name"])
        settings = settings_here(file, self.lab.record_url)
        with LiveProgress(progress) as live:
            made = prepared(
                name,
                settings,
                self.lab.folder,
                live,
                self.objective,
            )
            if self.objective is None:
                _require_as_in_file(file, name, settings, made)
        if not isinstance(made, Samples):
            raise lacks_method(name, "sample")
        return sampled(made, self.best, images, seed)

    def _records(self) -> list[Record]:
        """Those of the search, or of all halves of an alternation."""
        url = self.lab.record_url
        halves = halves_of(url, self.name) or [self.name]
        return [record for half in halves for record in search_records(url, half)]

    def __repr__(self) -> str:
        """One line for each result, the lowest first."""
        rows = ranked(self.results)
        told = [f"  {r.method}: {with_error(r.value, r.standard_error)}" for r in rows]
        return "\n".join([f"search {self.name} in {self.lab.folder}", *told])


def search(
    objective: str | Objective | None = None,
    *,
    resume: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Search:
    """Search, test the winners on fresh seeds, and write strategy files and the report.

    Args:
        objective: a name, `package.module:Class`, or an instance of your own class. Arguments of
            its class that an instance keeps in attributes of the same name are recorded as its
            settings. By default "digits", or the one of the search that is resumed.
        resume: resume the search of these settings, or of this `name`, where it was interrupted;
            settings that are left out keep their recorded values.
        retry_failed: measure failed evaluations of the resumed search again.
        progress: show the progress, in a terminal or below a notebook's cell.
        settings: all settings that a study file may hold (`autonat search --help` lists them):
            steps, budget, optimisers, objective_settings, runner ("ray" or "local"), lab …

    Returns:
        The search with its results.

    Raises:
        ValueError: a setting is not valid, which is found before anything costly starts.
        KeyboardInterrupt: the search was interrupted; `resume=True` resumes it.
    """
    from trials.publishing.publish import show_nothing
    from trials.publishing.run import run_and_publish
    from trials.searches.reading import read_settings
    from trials.searches.resuming import resumed_settings

    without_chatter()
    if not isinstance(resume, bool):
        raise ValueError(
            f"resume: expected True or False, got {shown(resume)}; name= says of which search"
        )
    own = None if objective is None or isinstance(objective, str) else objective
    given = dict(settings)
    if objective is not None:
        given["objective"] = objective if isinstance(objective, str) else _name_of(objective)
    if own is not None and "objective_settings" in settings:
        raise ValueError(
            "objective_settings: expected none for an instance, which has its settings"
        )
    if own is not None and (shown_settings := settings_of(own)):
        given["objective_settings"] = shown_settings
    asked = read_settings(given, begun=resume)
    if resume:
        named = asked if asked.name is not None else asked.completed()
        asked = resumed_settings(named.full_name(), given, None)
    asked = asked.completed()
    full = asked.full_name()
    live = LiveProgress(progress)
    published = run_and_publish(
        asked,
        resume=resume,
        retry_failed=retry_failed,
        objective=own,
        progress=live,
        show=show_nothing,
        note=lambda line: live.say(f"note: {line}"),
    )
    if published is None:
        raise KeyboardInterrupt(f"search {full} was interrupted; resume=True resumes it")
    lab = Lab.at(asked.lab, asked.record_url, asked.tracking_uri)
    return Search(full, lab, published.results, published.anchors, own)


def load(name: str, lab: str | Path = "autonat-lab", record_url: str | None = None) -> Search:
    """Open a search or an alternation in a lab, whether or not it is finished.

    The results of an alternation are those before it and of each finished round.

    Args:
        name: of the search or the alternation.
        lab: the folder of the lab.
        record_url: the storage of the record; by default an SQLite file in the lab.

    Raises:
        ValueError: there is no search of that name; the known ones are listed.
    """
    without_chatter()
    where = Lab.at(Path(lab), record_url)
    recorded_settings(where.record_url, name)  # raises where there is no such search
    records, results = recorded_results(where, name)
    return Search(name, where, results, recorded_anchors(records))


def evaluate(
    strategy: GenerationStrategy | StrategyFile | str | Path,
    objective: str | Objective | None = None,
    *,
    images: int = 2000,
    seeds: Sequence[int] = (1, 2, 3),
    lab: str | Path = "autonat-lab",
    progress: bool = True,
    **settings: Any,
) -> FinalTest:
    """Measure a strategy with several seeds, in this process.

    Args:
        strategy: the strategy, its strategy file, or the path of that file.
        objective: a name, `package.module:Class` or an instance; by default the strategy file's.
        images: n, the images generated for each seed.
        seeds: different whole numbers in [0, 2**31); searches use larger ones.
        lab: the folder with trained models.
        progress: show the progress.
        settings: of the objective, where it is given by name.

    Raises:
        ValueError: no objective is given, a setting, a seed or the number of images is not valid,
            or an evaluation failed.
    """
    from trials.objectives.measured import replicate
    from trials.objectives.preparing import prepared

    without_chatter()
    if not isinstance(strategy, GenerationStrategy | StrategyFile | str | Path):
        raise ValueError(
            f"strategy: expected a strategy, a strategy file or its path, got {shown(strategy)}"
        )
    if not isinstance(seeds, Iterable):
        raise ValueError(f"seeds: expected a list of whole numbers, got {shown(seeds)}")
    folder = None
    if isinstance(strategy, (str, Path)):
        folder = Path(strategy).parent
        strategy = read_strategy(strategy)
    told = strategy.objective if isinstance(strategy, StrategyFile) else None
    generation = strategy.generation if isinstance(strategy, StrategyFile) else strategy
    own = None if objective is None or isinstance(objective, str) else objective
    if objective is None:
        if told is None or not isinstance(strategy, StrategyFile):
            raise ValueError(
                "objective: expected one for a strategy that is not from a file, got none"
            )
        name = str(told["name"])
        url = Lab.at(Path(lab)).record_url
        settings = {**settings_here(strategy, url, settings, folder), **settings}
    else:
        name = objective if isinstance(objective, str) else _name_of(objective)
    if own is not None and settings:
        raise ValueError(
            f"{next(iter(settings))}: expected no settings beside an instance of {name}, which has "
            "its own"
        )
    with LiveProgress(progress) as live:
        made = prepared(name, settings, Lab.open(Path(lab)).folder, live, own)
        if objective is None and isinstance(strategy, StrategyFile):
            _require_as_in_file(strategy, name, settings, made)
        test, _ = replicate(made, generation, images, list(seeds), live.report("evaluating"))
    return test


def _require_as_in_file(
    file: StrategyFile, name: str, settings: dict[str, Any], objective: Objective
) -> None:
    """Refuse an objective that measures otherwise than a strategy file says: an instance's settings
    are in no file, so that its class may be made with others.

    Raises:
        ValueError: the protocols differ; the first difference is named.
    """
    described = describe(name, settings, objective)
    differing = []
    if file.protocol is not None:
        theirs, ours = map(protocol_without_folders, (file.protocol, described["protocol"]))
        differing += differences(theirs, ours, "protocol")
    if file.objective is not None:
        recorded, made = (
            {field: told.get(field) for field in ("dataset", "checkpoint", "tokens")}
            for told in (file.objective, described["objective"])
        )
        differing += differences(recorded, made, "objective")
    if differing:
        raise ValueError(
            f"objective {name}, made from the strategy file, measures differently: {differing[0]}; "
            "give it as objective="
        )


def _name_of(objective: Objective) -> str:
    """The name of an instance in records: its registered name, or `module:Class`."""
    made_by = type(objective)
    own = f"{made_by.__module__}:{made_by.__qualname__}"
    name = next((name for name, place in OBJECTIVES.sources().items() if place == own), own)
    accepted(name, objective)
    if name == own:
        note_own_code(own)
    return name
