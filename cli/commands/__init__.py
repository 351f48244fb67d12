"""One module for each command of `vitrine`, loaded when it is called."""
