"""An objective around somebody else's generator, whose conditions are three tensors."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch

from docs.extending import captioned
from docs.extending.captioned import Captioned
from docs.extending.captioned import CaptionedObjective as Mine
from models import decoding, schedule_scores
from models.features.image_features import FEATURES, quantised
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.precision import StagePrecisions
from models.tokenizers.decoder import GreyLevels
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS
from tests.fake_cuda import fake_cuda
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.drawing import sampled
from trials.objectives.generator_objective import GeneratorObjective, NamedGeneratorObjective
from trials.objectives.images import ImagesObjective
from trials.objectives.objective import (
    Anchors,
    Checks,
    Grows,
    Objective,
    load_objective,
)
from trials.objectives.pictures import Films, Samples, ShowsClasses
from trials.objectives.yardstick import Yardstick

Autonat = Callable[..., tuple[int, str, str]]
FILES = Path(__file__).parents[2] / "models" / "files"
FOUR = GenerationStrategy.maskgit(4)


def test_it_can_be_checked_again_after_it_measured_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = Mine()
    with fake_cuda(monkeypatch):
        objective.evaluate(FOUR, 130, 7)
        objective.check(Space(FOUR), 130)


def test_a_generator_that_cannot_be_moved_is_one_line() -> None:
    class Half(Captioned):
        to = property()  # type: ignore[assignment]

    objective = Mine()
    objective._generating.generator = Half(0)
    with pytest.raises(ValueError, match="generator Half: it lacks 'to'"):
        objective.check(Space(FOUR), 130)


def test_what_it_shows_leaves_a_network_that_can_be_trained() -> None:
    """Moved within inference mode, its weights could never be trained again."""

    class Seen(Captioned):
        modes: ClassVar[list[bool]] = []

        def to(self, device: str | torch.device) -> Self:
            self.modes.append(torch.is_inference_mode_enabled())
            return super().to(device)

    objective = Mine()
    objective._generating.generator = Seen(0)
    for show in (
        lambda: objective.anchors(130),
        lambda: objective.sample(FOUR, 2, 7),
        lambda: objective.class_grid(FOUR, 2, 1, 7),
        lambda: objective.film(FOUR, 1, 7),
    ):
        Seen.modes.clear()
        show()
        assert not Seen.modes[0]  # it stays where it is when it is moved again


def test_the_pixels_of_samples_are_rounded_as_those_that_are_measured() -> None:
    made = Mine()
    levels = torch.linspace(0, 1, 130 * 3 * 36).view(130, 3, 6, 6)
    made._generating.images = lambda *_: iter([levels])  # type: ignore[method-assign]
    pixels = torch.from_numpy(made.sample(FOUR, 130, 7)).movedim(-1, 1)
    assert torch.equal(pixels.float() / 255, quantised(levels))


@pytest.mark.parametrize("images", [0, -1, 2.5, "3", True])
def test_a_number_of_samples_that_is_none_is_one_line(images: Any) -> None:
    with pytest.raises(ValueError, match="^images: expected a whole number above 0, got "):
        sampled(Mine(), FOUR, images, 7)


def test_an_objective_in_a_few_lines() -> None:
    objective = Mine()
    for protocol in (Checks, Grows, Samples, ShowsClasses, Films, Anchors):
        assert isinstance(objective, protocol)
    objective.check(Space(FOUR), 130)
    measured = objective.evaluate(FOUR, 130, 7)
    assert measured.finite
    assert measured.forward_passes == 8
    assert measured.standard_error is not None
    assert objective.evaluate(FOUR, 130, 7).value == measured.value
    assert objective.evaluate(FOUR, 130, 8).value != measured.value
    copy: Objective = pickle.loads(pickle.dumps(objective))
    assert copy.evaluate(FOUR, 130, 7).value == measured.value
    assert objective.sample(FOUR, 9, 7).shape == (9, 6, 6, 3)
    assert set(objective.anchors(130)) == {"real images", "constant image"}
    told = describe("mine", {}, objective)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert tuple(told["protocol"]) == PROTOCOL_FIELDS
    assert told["protocol"]["classes"] == "captions, random"
    assert told["objective"]["checkpoint"] == Captioned(0).hash()
    assert told["objective"]["flops"]["pass"] > 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mask_token": 3}, r"mask_token = 3, expected a number outside \[0, "),
        ({"grid": (3, 5)}, r"grid = \(3, 5\), expected \(h, w\) with h \* w = 12 tokens"),
        ({"null": lambda c: (1, 2)}, "null returned tuple, expected Conditions"),
        ({"conditions_of": lambda n: Captioned(0).conditions_of(n[:1])}, "returned 1 conditions f"),
        ({"decode": lambda t: torch.full((len(t), 3, 6, 6), 3.0)}, r"in \[3, 3\], expected \[0, 1"),
        ({"flops": lambda: {"pass": 1.5}}, "flops\\(\\) has 'pass': 1.5"),
    ],
)
def test_a_generator_that_cannot_work_is_refused_before_anything_costly(
    change: dict[str, Any], line: str
) -> None:
    objective = Mine()
    generator = objective._generating.generator
    kind = type("Broken", (type(generator),), {})
    generator.__class__ = kind
    for name, value in change.items():
        made = value if not callable(value) else staticmethod(value)
        setattr(kind, name, made)
    with pytest.raises(ValueError, match=f"^generator Broken: .*{line}"):
        objective.check(Space(FOUR), 130)


def test_grey_images_are_measured_by_features_that_read_colours(
    image_settings: dict[str, Any],
) -> None:
    torch.manual_seed(0)
    config = NATConfig(17, 16, 10, 8, 0, 2)
    grey = NATGenerator(config, GreyLevels(17, (4, 4)), nat=NAT(config).eval())
    yardstick = Yardstick(image_settings["features"], image_settings["reference"])
    objective = GeneratorObjective(grey, yardstick)
    objective.check(Space(FOUR), 40)
    assert objective.evaluate(FOUR, 40, 1).finite
    assert all(math.isfinite(value) for value in objective.anchors(40).values())


def test_registered_features_are_given_grey_images_as_they_are(
    image_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES._registered, "grey", object)
    grey, reference = torch.zeros(2, 4, 4), image_settings["reference"]
    path = image_settings["features"].partition(":")[2]
    for name, shape in (("grey", (2, 4, 4)), ("pixels", (2, 3, 4, 4))):
        seen = Yardstick(f"{name}:{path}", reference).seen(grey)
        assert seen.shape == shape


def test_features_may_be_a_folder(tmp_path: Path, image_settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="none: no such file"):
        Yardstick(f"pixels:{tmp_path / 'none'}", image_settings["reference"])
    Yardstick(f"pixels:{tmp_path}", image_settings["reference"])


@pytest.mark.parametrize("metric", ["kid", "mmd"])
def test_it_is_measured_by_other_metrics(metric: str) -> None:
    measured = Mine(metric=metric).evaluate(FOUR, 120, 7)
    assert (measured.metric, measured.finite) == (metric, True)


def test_the_numbers_are_those_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fake_cuda import fake_cuda

    here = Mine().evaluate(FOUR, 130, 7).value
    with fake_cuda(monkeypatch):
        there = Mine()
        assert there.evaluate(FOUR, 130, 7).value == here
        sent = pickle.dumps(there)
    assert pickle.loads(sent).evaluate(FOUR, 130, 7).value == here


def test_less_memory_changes_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Mine()
    whole = objective.sample(FOUR, 100, 3)
    network = captioned.Network.forward
    refused: list[int] = []

    def small(self: Any, tokens: torch.Tensor, *told: torch.Tensor) -> torch.Tensor:
        if len(tokens) > 13:
            refused.append(len(tokens))
            raise torch.OutOfMemoryError("no memory for so many")
        return network(self, tokens, *told)

    expected = objective.evaluate_with_gradient(FOUR, 120, 3)
    monkeypatch.setattr(captioned.Network, "forward", small)
    again = objective.sample(FOUR, 100, 3)
    assert refused
    assert (again == whole).mean() > 0.9
    found = Mine().evaluate_with_gradient(FOUR, 120, 3)
    assert found.value == pytest.approx(expected.value, rel=0.05)
    assert found.gradient is not None


@pytest.mark.parametrize("gradient", [False, True])
def test_logits_that_are_not_finite_are_the_reason_of_a_failure(
    monkeypatch: pytest.MonkeyPatch, gradient: bool
) -> None:
    """Tokens outside the codebook would break a process on a GPU for good."""
    made = Captioned.__call__

    def diverged(self: Captioned, *given: Any) -> torch.Tensor:
        return made(self, *given) / 0

    monkeypatch.setattr(Captioned, "__call__", diverged)
    objective = Mine()
    measure = objective.evaluate_with_gradient if gradient else objective.evaluate
    with pytest.raises(ValueError, match="expected finite logits of the generator"):
        measure(FOUR, 120, 3)


def test_logits_of_few_images_at_a_time_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many codes the logits of a chunk are larger than the network."""
    objective, sampling = Mine(), decoding.sample_known
    whole = objective.sample(FOUR, 100, 3)
    expected = objective.evaluate_with_gradient(FOUR, 120, 3)

    def small(logits: torch.Tensor, *told: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if len(logits) > 8:
            raise torch.OutOfMemoryError("no memory for so many")
        return sampling(logits, *told)

    for module in (decoding, schedule_scores):
        monkeypatch.setattr(module, "sample_known", small)
    again = objective.sample(FOUR, 100, 3)
    assert (again == whole).mean() > 0.9
    found = Mine().evaluate_with_gradient(FOUR, 120, 3)
    assert found.value == pytest.approx(expected.value, rel=0.05)
    assert found.gradient is not None
    assert expected.gradient is not None
    assert found.gradient.values == pytest.approx(expected.gradient.values, rel=0.2, abs=0.5)


@pytest.fixture
def named(image_settings: dict[str, Any]) -> dict[str, Any]:
    """The published NAT's files, as settings of the objective `generator`."""
    return {
        "generator": f"nat:{FILES / 'nat.pth'}",
        "tokenizer": f"vqgan:{FILES / 'vqgan.ckpt'}",
        "num_heads": 4,
        "features": image_settings["features"],
        "reference": image_settings["reference"],
        "chunk": 20,
    }


def test_a_generator_by_name_gives_the_numbers_of_the_images_objective(
    named: dict[str, Any], tmp_path: Path
) -> None:
    by_name = load_objective("generator", named)
    assert isinstance(by_name, NamedGeneratorObjective)
    images = {name: named[name] for name in ("tokenizer", "features", "reference", "chunk")}
    sizes = {"grid": 16, "num_classes": 10, "width": 48, "depth": 4, "num_heads": 4}
    known = ImagesObjective(weights=str(FILES / "nat.pth"), **images, **sizes)
    known.prepare(tmp_path, lambda *_: None)
    one, other = by_name.evaluate(FOUR, 40, 1), known.evaluate(FOUR, 40, 1)
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    told, expected = (describe("x", {}, objective)["objective"] for objective in (by_name, known))
    assert told["checkpoint"] == expected["checkpoint"]
    assert told["flops"] == expected["flops"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"generator": "other:x"}, "generator = 'other:x' is unknown; known: nat:PATH"),
        ({"generator": "nat:nothing.pth"}, "nothing.pth: No such file"),
        ({"size": 3}, "has no setting size"),
        ({"reference": "nothing.npz"}, "nothing.npz: no such file"),
        ({"metric": "inception-score"}, "metric = 'inception-score' is unknown; known: fid"),
        ({"chunk": 0}, "chunk = 0 is not positive"),
    ],
)
def test_settings_that_cannot_be(named: dict[str, Any], change: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        load_objective("generator", named | change)


@pytest.mark.long
def test_a_search_of_ones_own_generator_by_a_setting(
    autonat: Autonat, named: dict[str, Any], with_mlflow: Lab
) -> None:
    Path("mine.py").write_text(
        Path(captioned.__file__)
        .read_text()
        .replace("6 * 6", "16 * 16")
        .replace("3, 6, 6", "3, 16, 16")
    )
    words = [w for k in ("features", "reference") for w in ("--set", f"{k}={named[k]}")]
    code, out, err = autonat(
        *("search", "--objective", "generator", "--set", "generator=mine:Captioned", *words),
        *("--steps", 3, "--images", 30, "--budget", 240, "--test-images", 30, "--test-seeds", "1"),
        *("--name", "own", "--runner", "local", "--workers", 1, "--lab", with_mlflow.folder),
    )
    assert code == 0, err + out


def test_each_stage_computes_in_its_precision_and_the_protocol_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = Mine()
    chosen = "tokens:float32,pixels:default,features:float32"
    objective._generating.precision = StagePrecisions.parse(chosen)
    seen: dict[str, bool] = {}

    def spied(kind: type, method: str, stage: str) -> None:
        original = getattr(kind, method)

        def spy(self: Any, *told: Any) -> Any:
            seen[stage] = torch.backends.cudnn.allow_tf32
            return original(self, *told)

        monkeypatch.setattr(kind, method, spy)

    spied(Captioned, "__call__", "tokens")
    spied(Captioned, "decode", "pixels")
    spied(type(objective._yardstick.evaluator.features), "forward", "features")
    objective.evaluate(FOUR, 130, 7)
    assert seen == {"tokens": False, "pixels": True, "features": False}
    told = describe("mine", {}, objective)["protocol"]["precision"]
    assert told == "tokens float32; pixels default; features float32"


def test_too_little_memory_for_one_image_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("Tried to allocate 3.00 GiB.")

    monkeypatch.setattr(captioned.Network, "forward", full)
    expected = "no memory for a single image: Tried to allocate 3.00 GiB."
    with pytest.raises(torch.OutOfMemoryError, match=expected):
        Mine().evaluate(FOUR, 130, 7)
