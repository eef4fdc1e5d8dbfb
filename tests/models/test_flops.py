"""Floating-point operations against a count by hand."""

from __future__ import annotations

from models.generators.nat import NATConfig
from models.generators.nat_generator import pass_flops


def by_hand(config: NATConfig) -> int:
    """Two a multiplication: qkv, attention, projection, MLP, skips and head."""
    words, places = config.tokens, config.tokens + 1
    width, hidden = config.width, config.width * config.mlp_ratio
    attention = places * width * 3 * width + 2 * places**2 * width + places * width**2
    block = attention + 2 * places * width * hidden
    skips = config.depth // 2 * places * 2 * width**2
    head = words * width**2 + words * width * (config.codebook_size + 1)
    return 2 * ((config.depth + 1) * block + skips + head)


def test_a_pass_costs_what_a_count_by_hand_says() -> None:
    for config in (
        NATConfig(17, 64, 10, 32, 2, 2),
        NATConfig(1024, 256, 1000, 768, 24, 8),  # AutoNAT-L on ImageNet-256
    ):
        assert pass_flops(config) == by_hand(config)


def test_autonat_l_takes_about_a_hundred_gigaflops_a_pass() -> None:
    assert 100e9 < pass_flops(NATConfig(1024, 256, 1000, 768, 24, 8)) < 110e9
