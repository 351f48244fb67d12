"""Catalogues: products, index versions, rankings, golden queries, and duplicates."""
