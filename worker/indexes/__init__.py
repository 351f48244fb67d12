"""Index versions: which collection holds what of a catalogue, and how it is filled."""
