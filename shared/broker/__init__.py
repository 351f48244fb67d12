"""Redis: wake-up messages for workers, notifications for waiting requests, and counters."""
