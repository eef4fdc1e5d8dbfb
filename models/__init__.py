"""Generating and measuring: generators, decoding, tokenizers, features, metrics, data, training."""
