"""Access control: counting and limiting wrong keys."""
