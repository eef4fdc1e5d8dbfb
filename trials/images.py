"""The images objective: a NAT on tokenised images, or a published checkpoint, measured by FID."""

from __future__ import annotations
