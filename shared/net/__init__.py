"""Web addresses and safe connections to them."""
