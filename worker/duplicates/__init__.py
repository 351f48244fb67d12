"""Find products with duplicate pictures: pairs, and groups of them."""
