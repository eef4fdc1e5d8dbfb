"""Strategies, their spaces, and the optimisers that propose them."""
