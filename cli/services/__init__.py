"""The servers that `vitrine up` starts and supervises."""
