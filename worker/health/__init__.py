"""Health checks of a worker process."""
