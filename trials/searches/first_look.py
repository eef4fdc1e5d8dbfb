"""What can be checked of a search before PyTorch, Ray and its objective are imported."""

from __future__ import annotations

from search.registry import OPTIONAL, make_optimiser
from trials.objectives.objective import OBJECTIVES
from trials.searches.settings import SearchSettings


def first_look(settings: SearchSettings) -> None:
    """Refuse at once what would be refused after the imports, by `trials.searches.launch.check`.

    Optimisers that learn from earlier searches, and those of an extra, are left for then.

    Raises:
        ValueError: the objective is unknown; or the space, the start, the budget or the settings of
            an optimiser is not valid.
    """
    if ":" not in settings.objective and settings.objective not in OBJECTIVES.names():
        OBJECTIVES.load(settings.objective)  # which lists the known ones
    settings = settings.completed()
    space, budget = settings.space(), settings.budget_of_one()
    settings.rungs()
    for name in settings.optimisers:
        if name not in OPTIONAL and not settings.learns_from:
            own = settings.optimiser_settings.get(name)
            first = settings.begins_with_controls
            make_optimiser(name, space, budget, settings.seed, own, None, first)
