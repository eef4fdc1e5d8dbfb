"""Conformance suites for users' own generators and metrics, to be called in pytest."""

from models.testing.generators import check_generator
from models.testing.metrics import check_metric

__all__ = ["check_generator", "check_metric"]
