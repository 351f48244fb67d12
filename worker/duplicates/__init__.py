"""Products whose pictures show the same: pairs, and groups of them."""
