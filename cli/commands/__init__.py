"""Commands of `vitrine`, a module each, imported when called."""
