"""MLflow, which mirrors the record."""
