"""Products on their way into a catalogue: loaded, embedded, written, a micro-batch at a time."""
