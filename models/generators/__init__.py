"""Masked generators: the networks that predict tokens, one family a file."""
