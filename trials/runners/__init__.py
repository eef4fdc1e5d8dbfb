"""Runners, which carry out evaluations: on Ray Tune, in this process, or on a simulated cluster."""
