"""A search on its way: claimed, embedded, looked up, grouped, explained; and the probe of its recall."""
