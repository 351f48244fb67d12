"""The maintenance process: ``python -m worker.maintenance``."""
