"""The letters objective with everything that a search needs: weights, codes, real statistics."""
