"""The built-in optimisers, one a file."""
