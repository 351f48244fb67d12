"""Access: wrong keys and their limits."""
