"""Exchange rates and exact conversion."""
