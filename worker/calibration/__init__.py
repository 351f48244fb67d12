"""What a score means: maps from scores to probabilities, fitted on photos whose answer is known."""
