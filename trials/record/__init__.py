"""The record: everything that studies measured, kept in an Optuna storage."""
