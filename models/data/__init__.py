"""Data for training and measuring: real images as files, tokens and statistics, and captions."""
