"""Conformance suites for one's own generators, metrics and the like, to be called in pytest."""
