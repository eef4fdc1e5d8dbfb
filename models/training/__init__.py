"""Training of NATs, and checkpoints of trained ones."""
