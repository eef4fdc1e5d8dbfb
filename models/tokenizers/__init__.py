"""Tokenizers: from images to tokens and back, one kind a file."""
