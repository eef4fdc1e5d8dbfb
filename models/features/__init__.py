"""Features: networks and formulas that turn images into vectors, from which metrics are computed."""
