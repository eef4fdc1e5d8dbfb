"""Searches: their settings, how they are launched and resumed, and rounds of searches."""
