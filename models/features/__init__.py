"""What images are measured by: networks and closed forms that turn them into vectors."""
