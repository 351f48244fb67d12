"""Retention: find and delete files and rows that are not needed any more."""
