"""Launcher files of Ray clusters (docs/cluster.md); a package, so that a wheel has them."""
