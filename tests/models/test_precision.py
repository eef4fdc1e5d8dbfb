"""Precisions say what they do, by stage, and what a GPU lacks is refused."""

from __future__ import annotations

import pytest
import torch

from models import precision
from models.precision import PRECISIONS, StagePrecisions, computing_in, require_supported


@pytest.mark.parametrize(
    ("name", "products", "convolutions"),
    [
        ("float32", "highest", False),
        ("tf32", "high", True),
        ("bfloat16", "highest", True),
        ("default", "highest", True),
    ],
)
def test_a_precision_is_that_of_products_and_of_convolutions(
    name: str, products: str, convolutions: bool
) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with computing_in(name):
        assert torch.get_float32_matmul_precision() == products
        assert torch.backends.cudnn.allow_tf32 == convolutions
        assert torch.is_autocast_enabled("cpu") == (name == "bfloat16")
        with computing_in("default", autocast=False):
            assert not torch.is_autocast_enabled("cpu")
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_each_stage_may_have_its_own() -> None:
    assert StagePrecisions.parse("tf32") == StagePrecisions("tf32", "default", "default")
    found = StagePrecisions.parse("features:float32, tokens:bfloat16")
    assert found.describe() == "tokens bfloat16; pixels default; features float32"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("int8", f"precision = 'int8' is unknown; known: {', '.join(PRECISIONS)}"),
        ("tokens:int8", "precision = 'int8' is unknown"),
        ("", "precision = '' is unknown"),
        ("pixel:tf32", "got 'pixel:tf32'"),
        ("pixels:tf32,pixels:float32", "expected STAGE:PRECISION with each stage at most once"),
    ],
)
def test_other_texts_are_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ValueError, match="precision = ") as refused:
        StagePrecisions.parse(text)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_precision_that_the_gpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    require_supported.cache_clear()
    require_supported("float16")
    with pytest.raises(ValueError, match=r"'bfloat16': the GPU Tesla T4 .*7\.5.*needs 8\.0"):
        require_supported("bfloat16")
    require_supported.cache_clear()
