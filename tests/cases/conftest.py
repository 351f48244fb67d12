"""Inputs from the field: what other people's files looked like when they failed, made again, and small."""

from tests.shop import shop

__all__ = ["shop"]
