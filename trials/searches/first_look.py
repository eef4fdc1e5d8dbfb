"""What can be checked of a search before PyTorch, Ray and its objective are imported."""

from __future__ import annotations

from search.registry import OPTIONAL, make_optimiser
from trials.objectives.objective import OBJECTIVES
from trials.searches.settings import SearchSettings


def first_look(settings: SearchSettings) -> None:
    """Refuse at once what would be refused after the imports, by `trials.searches.launch.check`.

    Left for then are objectives of users, which may bring schedules; optimisers that learn from
    earlier searches, and those of an extra; and the halves of an alternation.

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
    for name in () if settings.what == "both" else settings.optimisers:
        if name not in OPTIONAL and not settings.learns_from:
            own = settings.optimiser_settings.get(name)
            first = settings.begins_with_controls
            make_optimiser(name, space, budget, settings.seed, own, None, first)
