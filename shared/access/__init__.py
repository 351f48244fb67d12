"""Access control: API keys, roles, and limits of wrong keys."""
