"""How many images are decoded at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.tokenizers.decoder import GridDecoder, decoded_at_once
from models.tokenizers.vqgan import VQGAN, load_vqgan

FILE = Path(__file__).parents[1] / "files" / "vqgan.ckpt"


@pytest.mark.parametrize(
    ("side", "device", "expected"),
    [(256, "cpu", 1), (512, "cpu", 1), (128, "cpu", 4), (8, "cpu", 25), (512, "cuda", 25)],
)
def test_a_cpu_decodes_few_pixels_at_once(side: int, device: str, expected: int) -> None:
    assert decoded_at_once(side**2, torch.device(device)) == expected


def test_images_have_the_same_pixels_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    vqgan = load_vqgan(FILE)
    tokens = torch.randint(vqgan.codebook_size, (2, 256), generator=torch.manual_seed(0))
    together = vqgan.decode(tokens.view(2, 16, 16))
    sizes: list[int] = []
    decode = VQGAN.decode

    def spy(self: VQGAN, grids: Tensor) -> Tensor:
        sizes.append(len(grids))
        return decode(self, grids)

    monkeypatch.setattr(VQGAN, "decode", spy)
    found = GridDecoder(lambda: vqgan, (16, 16)).decode(tokens)
    assert sizes == ([1, 1] if vqgan.factor == 16 else [2])
    torch.testing.assert_close(found, together, atol=1e-6, rtol=0)


def test_compiled_it_has_the_same_pixels_for_any_number_of_images() -> None:
    vqgan = load_vqgan(FILE)
    decoder = GridDecoder(lambda: vqgan, (4, 4))
    shapes: list[tuple[int, ...]] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        shapes.append(tuple(inputs[-1].shape))
        return graph

    compiled = decoder.compiled(backend=counting)
    with torch.inference_mode():
        for images in (60, 38, 5):  # whole parts, one that is padded, and too few to compute 25 for
            tokens = torch.randint(vqgan.codebook_size, (images, 16))
            torch.testing.assert_close(compiled(tokens), decoder.decode(tokens))
    assert len(shapes) == 1
