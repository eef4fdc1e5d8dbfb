"""What libraries say of themselves on the way, and nobody asked for."""

from __future__ import annotations

import logging
import os
import warnings


def without_chatter() -> None:
    """Leave their errors, for this process."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for noisy in ("alembic", "ray", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
