"""Files: pictures, uploads, their durability, budgets, and expiry."""
