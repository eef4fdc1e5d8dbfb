"""What came of searches, read from their records: winners, final tests, comparisons, files."""
