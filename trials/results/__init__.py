"""The results of searches, read from their records: winners, final tests, comparisons."""
