"""Retention: which stored files and rows nothing needs any more, and their deletion."""
