"""What is searched and who proposes it: strategies, their space, optimisers with one ask/tell face."""
