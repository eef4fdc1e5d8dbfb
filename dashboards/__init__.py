"""Plotly figures, the HTML report, and opening the MLflow UI and optuna-dashboard."""
