"""Webhooks: addresses, events and deliveries."""
