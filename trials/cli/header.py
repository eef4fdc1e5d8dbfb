"""What stands above a search that begins: what is searched, what it costs, and where to look."""

from __future__ import annotations

from search.measurement import metric_label
from trials.cli.printing import DATABASES, lab_flags
from trials.lab import Lab
from trials.progress import say
from trials.record.databases import without_password
from trials.searches.settings import AlternationSettings, SearchSettings, TrainedSearch


def show_header(settings: SearchSettings, lab: Lab) -> None:
    """Write the header of a search to stderr.

    Args:
        settings: of the search, completed.
        lab: of the search.
    """
    name = settings.full_name()
    lines = {
        "search": f"{name}: {_methods(settings)} on {settings.objective}, T = {settings.steps}",
        "lab": str(lab.folder),
        "budget": _budget(settings),
        "final test": f"{settings.test_images:,} images with each of {_seeds(settings)}"
        + ("" if settings.test_metric is None else f", in {metric_label(settings.test_metric)}"),
        "workers": _workers(settings),
        "results": str(lab.results(name)),
        "watch it": f"autonat show {name}{lab_flags(lab, 'record_url')}  (once it searches)",
        "dashboards": f"autonat dashboard{lab_flags(lab, *DATABASES)}",
    }
    if settings.learns_from:
        lines["learns from"] = ", ".join(settings.learns_from)
    if lab.tracking_uri.startswith(("http://", "https://")):
        lines["MLflow"] = without_password(lab.tracking_uri)
    for label, text in lines.items():
        say(f"{label:12}{text}")


def _methods(settings: SearchSettings) -> str:
    methods = ", ".join(settings.optimisers)
    if isinstance(settings, AlternationSettings):
        return f"training ({settings.training_optimiser}) and generation ({methods}) in turn"
    what = {"training": "trainings by ", "joint": "training and generation at once by "}
    return what.get(settings.what, "") + methods


def _budget(settings: SearchSettings) -> str:
    each = "" if len(settings.optimisers) == 1 else " for each method"
    n = settings.images_per_evaluation
    images = f"{settings.budget:,} images{each}: {settings.budget // n:,} evaluations of {n:,}"
    if not isinstance(settings, TrainedSearch):
        return images
    models = settings.training_budget // settings.training_steps
    steps = f"{settings.training_budget:,} training steps{each}: {models:,} models"
    if isinstance(settings, AlternationSettings):
        most = f"at most {settings.rounds} round{'s' * (settings.rounds != 1)}"
        return f"in each of {most}: {steps}, and {images}"
    return f"{steps}, {n:,} images an evaluation"


def _seeds(settings: SearchSettings) -> str:
    count = len(settings.test_seeds)
    return f"{count} seed{'s' * (count != 1)}"


def _workers(settings: SearchSettings) -> str:
    at_once = settings.evaluations_together
    each = f", {at_once} evaluations at once" if at_once > 1 else ""
    if settings.runner == "local":
        return f"1, in this process{each}"
    where = settings.ray_address or "this machine"
    gpus = f" with {settings.gpus_per_trial:g} GPUs each" if settings.gpus_per_trial else ""
    return f"{settings.workers}{gpus}{each}, by Ray on {where}"
