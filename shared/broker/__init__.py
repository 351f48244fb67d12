"""Everything that speaks to Redis: wake-up messages for workers, and notifications for waiters."""
