"""What can be checked of a search before PyTorch, Ray and its objective are imported."""

from __future__ import annotations

from search.registry import ALL_OPTIMISERS, make_optimiser
from trials.objectives.objective import OBJECTIVES
from trials.searches.settings import SearchSettings


def first_look(settings: SearchSettings) -> None:
    """Refuse at once what would be refused after the imports, by `trials.searches.launch.check`.

    Left for then are objectives of users, which may bring schedules; the halves of an alternation;
    and optimisers of users or of an extra, and those that need L or earlier searches.

    Raises:
        ValueError: the objective is unknown; or the space, the start, the budget or the settings of
            an optimiser is not valid.
    """
    known = OBJECTIVES.sources()
    if ":" not in settings.objective and settings.objective not in known:
        OBJECTIVES.load(settings.objective)  # which lists the known ones
    if not known.get(settings.objective, "").startswith("trials."):
        return
    settings = settings.completed()
    space, budget = settings.space(), settings.budget_of_one()
    settings.rungs()
    if settings.what == "both" or settings.learns_from:
        return
    for name in settings.optimisers:
        own = settings.optimiser_settings[name]
        if name in ALL_OPTIMISERS and not own.get("whole_tokens"):
            first = settings.begins_with_controls
            make_optimiser(name, space, budget, settings.seed, own, None, first)
