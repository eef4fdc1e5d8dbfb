"""Publishing the results of a search: strategy files, the report, and MLflow's runs."""
