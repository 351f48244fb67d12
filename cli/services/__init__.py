"""Services that `vitrine up` starts and supervises."""
