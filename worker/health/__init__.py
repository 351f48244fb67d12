"""Health of a worker process."""
