"""The conformance suite of generators: it checks the promises of `MaskedGenerator`.

    def test_my_generator() -> None:
        check_generator(MyGenerator(...))

B: images at once, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable

import torch
from torch import Tensor

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator, PredictsPlaces
from models.generators.soundness import declaration_fault, images_fault, logits_fault
from models.precision import device
from search.conformance import require
from search.names import is_sha256
from search.strategy import GenerationStrategy

BATCH = 5
"""The number of images in a batch."""
ROUNDING = 1e-3
"""How much results may depend on the shape of a batch, relative to the largest value."""


def check_generator(generator: MaskedGenerator, other: MaskedGenerator | None = None) -> None:
    """Check all that decoding and measuring require of a generator.

    The checks run on the device of this process, which is the GPU if there is one. Afterwards the
    generator is on the CPU.

    Args:
        generator: a generator with any weights, such as random ones; a small one takes seconds.
        other: the same generator with other weights, to check that the hash distinguishes them.

    Raises:
        AssertionError: a check fails; the message says what was expected and what was found.
    """
    _check_declaration(generator)
    where = torch.device(device())
    moved = generator.to(where)
    with torch.inference_mode():
        drawn = torch.arange(BATCH, device=where) % (moved.num_conditions or 1)
        conditions = moved.conditions_of(drawn)
        _check_conditions(moved, drawn, conditions)
        _check_null(moved, conditions)
        for masked in (1.0, 0.5, 0.0):
            _check_logits(moved, _some_tokens(moved, masked), conditions)
        _check_images(moved, _some_tokens(moved, 0.0))
    _check_generation(moved, conditions)
    _check_identity(moved.to("cpu"), other)


def _check_declaration(generator: MaskedGenerator) -> None:
    fault = declaration_fault(generator)
    require(fault is None, str(fault))


def _check_conditions(generator: MaskedGenerator, drawn: Tensor, conditions: Conditions) -> None:
    """Check that rows stay with their numbers when conditions are indexed, split and joined."""
    kind = type(conditions).__name__
    require(
        isinstance(conditions, Conditions), f"conditions_of returned {kind}, expected Conditions"
    )
    require(
        len(conditions) == BATCH,
        f"conditions_of returned {len(conditions)} conditions, expected {BATCH}",
    )
    on, where = conditions.device, drawn.device
    require(on == where, f"the conditions of numbers on {where} are on {on}")
    turned = torch.arange(BATCH, device=where).flip(0)
    again = generator.conditions_of(drawn[turned])
    _require_same("conditions_of numbers in another order", again, conditions[turned])
    joined = Conditions.cat([conditions[:2], *conditions[2:].split(2)])
    _require_same("conditions split and joined", joined, conditions)
    _require_same("conditions moved and back", conditions.to("cpu").to(where), conditions)
    kinds, which = conditions.distinct()
    _require_same("conditions put together from distinct ones", kinds[which], conditions)


def _check_null(generator: MaskedGenerator, conditions: Conditions) -> None:
    """Check that null conditions are all equal, and have the shapes and types of conditions."""
    null = generator.null(conditions)
    require(len(null) == BATCH, f"null returned {len(null)} conditions, expected {BATCH}")
    shapes = [[(p.dtype, p.shape[1:]) for p in found.parts] for found in (conditions, null)]
    require(
        shapes[0] == shapes[1],
        f"null has parts {shapes[1]}, expected {shapes[0]} like the conditions",
    )
    first = torch.zeros(BATCH, dtype=torch.int64, device=conditions.device)
    _require_same("the null conditions of different images", null, null[first])
    _require_same("the null condition of one image alone", generator.null(conditions[:1]), null[:1])


def _check_logits(generator: MaskedGenerator, tokens: Tensor, conditions: Conditions) -> None:
    shown = tokens.clone()
    logits = generator(tokens, conditions)
    require(torch.equal(tokens, shown), "a forward pass changed its input tokens")
    shape = (BATCH, generator.tokens, generator.codebook_size)
    fault = logits_fault(logits, shape)
    require(fault is None, str(fault))
    on, where = logits.device, tokens.device
    require(on == where, f"logits of tokens on {where} are on {on}")
    logits = logits.float()
    same = torch.equal(generator(tokens, conditions).float(), logits)
    require(same, "two equal forward passes gave different logits; is it in evaluation mode?")
    turned = torch.arange(BATCH, device=where).flip(0)
    _check_rows("logits", logits, turned, lambda rows: generator(tokens[rows], conditions[rows]))
    if isinstance(generator, PredictsPlaces):
        places = turned[:, None] * generator.tokens // BATCH + torch.zeros_like(tokens[:, :2])
        at = generator.logits_at(tokens, conditions, places).float()
        there = logits.gather(1, places[..., None].expand(-1, -1, shape[2]))
        _require_close("logits of some positions", at, there)
    null = generator.null(conditions)
    both = Conditions.cat([conditions, null])
    guided = generator(torch.cat([tokens, tokens]), both).float()[:BATCH]
    _require_close("logits of a batch with null conditions", guided, logits)


def _check_images(generator: MaskedGenerator, tokens: Tensor) -> None:
    images = generator.decode(tokens)
    fault = images_fault(images, BATCH)
    require(fault is None, str(fault))
    on, where = images.device, tokens.device
    require(on == where, f"images of tokens on {where} are on {on}")
    turned = torch.arange(BATCH, device=where).flip(0)
    _check_rows("images", images.float(), turned, lambda rows: generator.decode(tokens[rows]))


def _check_generation(generator: MaskedGenerator, conditions: Conditions) -> None:
    steps = min(3, generator.tokens)
    random = torch.Generator(conditions.device).manual_seed(0)
    tokens = generate(generator, conditions, GenerationStrategy.maskgit(steps), random)
    low, high = int(tokens.min()), int(tokens.max())
    inside = 0 <= low <= high < generator.codebook_size
    require(
        inside,
        f"generated tokens are in [{low}, {high}], expected [0, {generator.codebook_size})",
    )


def _check_identity(generator: MaskedGenerator, other: MaskedGenerator | None) -> None:
    """Check, on the CPU, that the hash is stable and that a copy by pickle is the same."""
    name = generator.hash()
    require(is_sha256(name), f"hash() = {name!r}, expected 'sha256:' and 64 hexadecimal digits")
    copy: MaskedGenerator = pickle.loads(pickle.dumps(generator))
    require(copy.hash() == name, "a copy by pickle has another hash")
    with torch.inference_mode():
        numbers = torch.zeros(BATCH, dtype=torch.int64)
        tokens = _some_tokens(generator, 0.5, "cpu")
        logits = [g(tokens, g.conditions_of(numbers)).float() for g in (generator, copy)]
    _require_close("logits of a copy by pickle", logits[1], logits[0])
    if other is not None:
        require(other.hash() != name, "the generator with other weights has the same hash")


def _some_tokens(generator: MaskedGenerator, masked: float, where: str | None = None) -> Tensor:
    """Draw random tokens [BATCH, L], a share of which is masked."""
    random = torch.Generator().manual_seed(0)
    shape = (BATCH, generator.tokens)
    tokens = torch.randint(generator.codebook_size, shape, generator=random)
    hidden = torch.rand(shape, generator=random) < masked
    return tokens.masked_fill(hidden, generator.mask_token).to(where or device())


def _check_rows(
    what: str, whole: Tensor, turned: Tensor, again: Callable[[Tensor], Tensor]
) -> None:
    """Check that results of an image do not depend on the other images of the batch."""
    _require_close(f"{what} of a batch in another order", again(turned).float(), whole[turned])
    _require_close(f"{what} of one image alone", again(turned[:1]).float(), whole[turned[:1]])


def _require_close(what: str, found: Tensor, expected: Tensor) -> None:
    apart = float((found - expected).abs().max())
    largest = max(1.0, float(expected.abs().max()))
    require(apart <= ROUNDING * largest, f"{what} differ by up to {apart:g}")


def _require_same(what: str, found: Conditions, expected: Conditions) -> None:
    pairs = list(zip(found.parts, expected.parts, strict=False))
    same = len(found.parts) == len(expected.parts) and all(torch.equal(a, b) for a, b in pairs)
    require(same, f"{what} differ")
