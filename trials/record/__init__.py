"""What a study has measured, kept in an Optuna storage: the single record."""
