"""A long run of mixed traffic under faults, outside CI: ``make chaos`` or ``python -m tests.chaos``."""
