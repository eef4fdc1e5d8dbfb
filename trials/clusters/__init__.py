"""Launcher files of Ray clusters: what docs/cluster.md starts; no code."""
