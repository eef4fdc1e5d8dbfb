"""What is searched and who proposes it: strategies, their space, optimisers to ask and tell."""
