"""Searches: accept, queue, answer, and count them."""
