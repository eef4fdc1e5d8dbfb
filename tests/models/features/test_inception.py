"""The 2015 Inception: names, shapes and habits of the published graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.features.inception import BlockA, BlockE, Inception, load_inception


def random_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = Inception()
    found = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # as in the published file
        scale = (2 / max(1, tensor[0].numel())) ** 0.5 if tensor.ndim > 1 else 0.1
        values = torch.randn(tensor.shape, generator=generator) * scale
        found[name] = values.abs() + 0.5 if "running_var" in name or "bn.weight" in name else values
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(random_state(), path)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> Inception:
    return load_inception(file)


def test_names_and_sizes_are_the_published_ones(network: Inception) -> None:
    state = network.state_dict()
    assert sum(name.endswith("conv.weight") for name in state) == 94
    # pytorch-fid's file has 1,008 classes and, with them, 23.9 million weights.
    weights = sum(t.numel() for name, t in state.items() if "running" not in name)
    assert 23.7e6 < weights < 24.0e6
    assert state["Mixed_6b.branch7x7dbl_4.conv.weight"].shape == (128, 128, 7, 1)
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)


@torch.inference_mode()
def test_an_image_has_2048_features_of_its_own(network: Inception) -> None:
    images = torch.rand(3, 3, 40, 50, generator=torch.Generator().manual_seed(1))
    features = network(images)
    assert features.shape == (3, 2048)
    assert features.isfinite().all()
    assert features.std(0).mean() > 0
    torch.testing.assert_close(network(images[1:2]), features[1:2], atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def test_images_are_resized_without_antialiasing_to_minus_one_to_one(network: Inception) -> None:
    images = torch.rand(1, 3, 400, 400, generator=torch.Generator().manual_seed(1))
    seen = []
    hook = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, words: seen.append(words[0]))
    network(images)
    hook.remove()
    expected = F.interpolate(images, (299, 299), mode="bilinear", antialias=False) * 2 - 1
    torch.testing.assert_close(seen[0], expected)


@torch.inference_mode()
def test_padding_is_not_averaged_and_the_last_block_pools_by_maximum() -> None:
    ones = torch.ones(1, 8, 5, 5)
    for block, pooled in ((BlockA(8, 4), True), (BlockE(8, maximum=False), True)):
        seen: list[Tensor] = []
        block.branch_pool.register_forward_pre_hook(lambda _, words, s=seen: s.append(words[0]))
        block.eval()(ones)
        assert torch.equal(seen[0], ones) is pooled
    peak = torch.zeros(1, 8, 5, 5)
    peak[:, :, 2, 2] = 9.0
    last = BlockE(8, maximum=True).eval()
    last.branch_pool.register_forward_pre_hook(lambda _, words: seen.append(words[0]))
    last(peak)
    assert seen[-1].sum() == 8 * 9 * 9.0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("fc.bias"), "lacks fc.bias"),
        (lambda s: s.update(AuxLogits=torch.zeros(1)), "has the unexpected AuxLogits"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, change: object, line: str) -> None:
    state = random_state()
    change(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=line):
        load_inception(tmp_path / "bad.pth")
