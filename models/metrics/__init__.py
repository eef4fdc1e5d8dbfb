"""Metrics: how far generated images are from real images, as a value with its error."""
