"""The commands on one strategy file: `autonat evaluate`, `show`, `sample` and `transfer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dashboards.formatting import with_error
from search.controls import RULE_OF_THUMB
from search.files import named_os_errors
from search.measurement import metric_label
from search.names import did_you_mean
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.cli.flags import (
    App,
    JsonFlag,
    LabFlag,
    ObjectiveFlag,
    RecordFlag,
    SetFlag,
    StrategyArgument,
    TestImagesFlag,
    TestSeedsFlag,
    WorkersFlag,
    countable,
    read_assignments,
    read_counts,
    read_seeds,
)
from trials.cli.printing import note, out, print_json
from trials.cli.tables import error_words, how_measured, show_strategy, show_transfer
from trials.lab import DEFAULT_LAB, Lab
from trials.presets.presets import preset_named, presets, read_strategy
from trials.progress import LiveProgress, say

app = App()


@app.command()
def evaluate(
    strategy: StrategyArgument,
    images: TestImagesFlag = None,
    seeds: TestSeedsFlag = None,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Measure a strategy file again, on any seeds and with any number of images."""
    file = read_strategy(strategy)
    say(f"{strategy}: measuring it; importing PyTorch …")
    from trials.objectives.description import describe
    from trials.objectives.measured import replicate
    from trials.objectives.objective import load_objective
    from trials.objectives.preparing import prepared
    from trials.results.results import fid_over_n

    usual: tuple[int, ...]
    usual, n = (1, 2, 3), 2000
    if file.test is not None:
        usual, n = file.test.seeds, file.test.images
    chosen = [*usual] if seeds is None else read_seeds("--seeds", seeds)
    n = n if images is None else images
    name, values = _objective_of(file, objective, settings, lab, strategy)
    asked = how_measured(n, chosen)
    say(f"{strategy}: measuring it on {name}, {asked} …")
    file.generation.masked_counts(load_objective(name, values).tokens)
    with LiveProgress() as progress:
        made = prepared(name, values, Lab.open(lab).folder, progress)
        described = describe(name, values, made)
        for field in ("protocol", "objective"):
            differing = _differing(file, described, field)
            if differing:
                progress.say(f"note: the file was measured differently: {differing[0]}")
        test, found = replicate(made, file.generation, n, chosen, progress.report("evaluating"))
    smaller, metric = fid_over_n(found), metric_label(test.metric)
    if as_json_:
        seconds = round(sum(m.seconds for m in found), 3)
        more = {"protocol": described["protocol"], "seconds": seconds, "fid_at": smaller}
        print_json(test.printed() | more)
    else:
        out.print(
            f"{metric} {with_error(test.value, test.standard_error)}, {asked}, "
            f"{test.forward_passes} forward passes an image{error_words(test, '; ')}"
        )
        for label, fid in smaller.items():
            at = "extrapolated to infinite n" if label == "infinite" else f"at n = {label}"
            out.print(f"{metric} {fid:.4g} {at}, from the same images")


@app.command()
def show(
    strategy: Annotated[
        Path,
        typer.Argument(
            metavar="STRATEGY.json|NAME", help="A strategy file, a preset, or the name of a search."
        ),
    ],
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="L",
            min=1,
            callback=countable,
            help="Tokens of an image, to count the masked ones at each step. (default: as in the "
            "file)",
        ),
    ] = None,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    as_json_: JsonFlag = False,
) -> None:
    """Print the schedules in a strategy file; or the state and the failures of a search."""
    named = strategy.suffix != ".json" and not strategy.is_file()
    if named and preset_named(strategy) is None:
        say(f"{strategy}: reading its record …")
        from trials.cli.search_state import show_search
        from trials.record.searches import UnknownSearch

        try:
            show_search(Lab.at(lab, record_url), str(strategy), as_json_)
        except UnknownSearch as error:
            raise ValueError(f"{error}{did_you_mean(str(strategy), presets())}") from None
        return
    file, preset = read_strategy(strategy), preset_named(strategy)
    about = {} if preset is None else {"about": preset.about()}
    if as_json_:
        print_json(file.to_json() | about)
        return
    for text in about.values():
        out.print(text)
    known = (file.objective or {}).get("tokens")
    show_strategy(file, known if tokens is None else tokens)


@app.command()
def sample(
    strategy: StrategyArgument,
    picture: Annotated[Path, typer.Argument(metavar="OUT.png", help="The picture to write.")],
    images: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            min=1,
            callback=countable,
            help="Images in the picture. (default: 40; 10 with --film)",
        ),
    ] = None,
    film: Annotated[
        bool,
        typer.Option("--film", help="Show how images form at each step, beside the rule of thumb."),
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="SEED", min=0, max=2**32 - 1, help="Seed of the images.")
    ] = 0,
    objective: ObjectiveFlag = None,
    settings: SetFlag = None,
    lab: LabFlag = DEFAULT_LAB,
) -> None:
    """Generate images with a strategy, and write them, or how they form, as one picture."""
    if picture.suffix.lower() != ".png":
        raise ValueError(f"{picture}: expected the name of a picture, OUT.png")
    images = images or (10 if film else 40)
    file = read_strategy(strategy)
    say(f"{strategy}: drawing {images} images; importing PyTorch …")
    from dashboards.film import film_png
    from dashboards.sample_grids import samples_png
    from trials.cli.preparing import prepared_live
    from trials.objectives.drawing import film_of, sampled
    from trials.objectives.objective import lacks_method
    from trials.objectives.pictures import Films, Samples

    name, values = _objective_of(file, objective, settings, lab, strategy)
    made = prepared_live(name, values, Lab.open(lab))
    file.generation.masked_counts(made.tokens)
    if film:
        if not isinstance(made, Films):
            raise lacks_method(name, "film", ": it cannot show how images form")
        rule = GenerationStrategy.maskgit(file.generation.steps)
        both = {RULE_OF_THUMB: rule, strategy.name: file.generation}
        drawn = film_png({k: film_of(made, s, images, seed) for k, s in both.items()})
    elif isinstance(made, Samples):
        drawn = samples_png(sampled(made, file.generation, images, seed))
    else:
        raise lacks_method(name, "sample", ": it has no images to show")
    with named_os_errors(picture):
        picture.write_bytes(drawn)
    out.print(str(picture))


@app.command()
def transfer(
    strategy: StrategyArgument,
    settings: SetFlag = None,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="T,…", help="Numbers of steps, such as 4,16. (default: as in the file)"
        ),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            help="Budget of a search that starts from the transferred strategy. (default: no "
            "search)",
        ),
    ] = None,
    images_per_evaluation: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            min=1,
            help="Images generated to measure one strategy of that search. (default: 250)",
        ),
    ] = None,
    test_images: Annotated[
        int,
        typer.Option(
            metavar="IMAGES", min=1, help="Images generated in the final test, for each seed."
        ),
    ] = 2000,
    test_seeds: Annotated[
        str, typer.Option(metavar="SEED,…", help="Seeds of the final test.")
    ] = "1,2,3",
    workers: WorkersFlag = None,
    lab: LabFlag = DEFAULT_LAB,
    as_json_: JsonFlag = False,
) -> None:
    """Measure a strategy on another model or at other numbers of steps; refine it on request."""
    if refine is None and (images_per_evaluation, workers) != (None, None):
        raise ValueError(
            "--images-per-evaluation and --workers are of the search that --refine asks for; "
            "--test-images is n of the final test"
        )
    file = read_strategy(strategy)
    say(f"{strategy}: transferring; importing PyTorch …")
    from trials.publishing.transferring import TransferSettings, transfer_and_refine

    where, seeds = Lab.open(lab), read_seeds("--test-seeds", test_seeds)
    lengths = read_counts("--steps", steps) if steps is not None else [file.generation.steps]
    rows = transfer_and_refine(
        file,
        read_assignments("--set", settings),
        lengths,
        TransferSettings(test_images, seeds, refine, images_per_evaluation or 250, workers),
        where,
        LiveProgress(),
        note,
        strategy.parent,
    )
    show_transfer(file, rows, as_json_)


def _objective_of(
    file: StrategyFile, name: str | None, settings: list[str] | None, lab: Path, strategy: Path
) -> tuple[str, dict[str, Any]]:
    """The objective that measures a file: the one that a flag names, or else the file's own.

    Args:
        file: the content of the strategy file.
        name: of the objective that a flag names; None for the file's own.
        settings: assignments that flags give.
        lab: whose record knows where the files of the objective are.
        strategy: the path of the strategy file.
    """
    from trials.objectives.known_files import settings_here
    from trials.objectives.named_paths import with_absolute_paths
    from trials.objectives.objective import OBJECTIVES

    if name is None and file.objective is None:
        raise ValueError(
            f"{strategy}: the file names no objective; give one, such as --objective digits"
        )
    found = str((file.objective or {})["name"]) if name is None else name
    given = with_absolute_paths(OBJECTIVES.load(found), read_assignments("--set", settings))
    if name is not None:
        return found, given
    return found, settings_here(file, Lab.at(lab).record_url, given, strategy.parent) | given


def _differing(file: StrategyFile, described: Mapping[str, Any], field: str) -> list[str]:
    """Where the protocol or the objective of a file differs from what measures it now."""
    from trials.objectives.known_files import comparable, protocol_without_folders
    from trials.record.differences import differences

    if field == "protocol" and file.protocol is not None:
        theirs, ours = map(protocol_without_folders, (file.protocol, described[field]))
        return differences(theirs, ours, field)
    if field == "objective" and file.objective is not None:
        theirs, ours = comparable(file.objective, described[field])
        return differences(theirs, ours, field)
    return []
