"""Who proposes what to measure next, one optimiser a file."""
