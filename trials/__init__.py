"""Measuring strategies: objectives, studies on Ray Tune, their record, MLflow, the command line."""
