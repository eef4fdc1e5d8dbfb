"""Writing what came of a search for people: strategy files, the report, MLflow's runs."""
