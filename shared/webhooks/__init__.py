"""Webhooks: addresses, events, and their delivery."""
