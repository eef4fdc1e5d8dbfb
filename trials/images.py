"""The images objective: a NAT on tokenised images, or a published checkpoint, measured by FID."""

from __future__ import annotations

SIZES = {"S": (512, 12, 8), "B": (768, 12, 8), "L": (768, 24, 8)}
"""Width, depth and heads of AutoNAT-S and -L; B lies between them and is ours."""
