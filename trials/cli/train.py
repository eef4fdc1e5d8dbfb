"""The command that trains a generator before it is searched: `autonat train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trials.cli.flags import (
    App,
    JsonFlag,
    ObjectiveFlag,
    RayAddressFlag,
    SetFlag,
    finite,
    read_assignments,
)
from trials.cli.printing import exit_when_interrupted, out, print_json
from trials.lab import DEFAULT_LAB, VARIABLES, Lab
from trials.progress import LiveProgress, say

if TYPE_CHECKING:
    from trials.objectives.objective import Objective

app = App()


@app.command()
def train(
    study_file: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY.yaml", help="A study file; its objective is trained."),
    ] = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    workers: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Workers that train one model together.")
    ] = 1,
    gpus_per_worker: Annotated[
        float,
        typer.Option(metavar="GPUS", min=0, callback=finite, help="GPUs that each worker uses."),
    ] = 0.0,
    ray_address: RayAddressFlag = None,
    lab: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar=VARIABLES["lab"],
            help="The lab: the folder that holds all files. (default: that of the study file, or "
            f"{DEFAULT_LAB})",
        ),
    ] = None,
    as_json_: JsonFlag = False,
) -> None:
    """Train the generator of an objective now, so that its searches start at once."""
    from trials.objectives.description import describe
    from trials.searches.reading import read_settings

    given = {
        "objective": objective,
        "objective_settings": read_assignments("--set", settings),
        "lab": lab,
    }
    study = read_settings({k: v for k, v in given.items() if v}, study_file)
    objective, values = study.objective, study.objective_settings
    say(f"{objective}: preparing it; importing PyTorch …")
    resumed = "interrupted; the same command resumes from the last checkpoint, if there is one"
    with exit_when_interrupted(resumed):
        address = ray_address or (study.ray_address if workers > 1 else None)
        made = _trained(objective, values, study.open_lab(), workers, gpus_per_worker, address)
    described = describe(objective, values, made)
    if as_json_:
        print_json(described)
    else:
        out.print(f"checkpoint {described['objective']['checkpoint']}")


def _trained(
    objective: str,
    values: dict[str, Any],
    lab: Lab,
    workers: int,
    gpus_per_worker: float,
    ray_address: str | None,
) -> Objective:
    from trials.cli.preparing import prepared_live
    from trials.objectives.objective import load_objective

    if workers == 1 and ray_address is None:
        return prepared_live(objective, values, lab)
    from trials.objectives.nat_objective import NATObjective
    from trials.runners.distributed_training import train_together

    made = load_objective(objective, values)
    if not isinstance(made, NATObjective):
        raise ValueError(
            f"objective {objective}: only an objective with a NAT can be trained on several workers"
        )
    with LiveProgress() as progress:
        train_together(
            made,
            lab.folder,
            progress.report(f"training {objective}"),
            workers=workers,
            gpus=gpus_per_worker,
            address=ray_address,
        )
    return made
