"""Silences messages of libraries that a user did not ask for."""

from __future__ import annotations

import logging
import os
import warnings


def without_chatter() -> None:
    """Show only errors, and warnings of Optuna, for the rest of this process."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for noisy in ("alembic", "ray", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
