"""The networks that predict tokens, one family a file."""
