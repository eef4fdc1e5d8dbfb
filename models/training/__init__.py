"""How a generator is trained, and how a trained one is kept."""
