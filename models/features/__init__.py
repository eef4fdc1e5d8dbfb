"""Features: networks and formulas that turn images into vectors for metrics."""
