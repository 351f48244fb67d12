"""Index versions: the collections of a catalogue, their rows and their models."""
