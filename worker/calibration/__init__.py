"""Map scores to probabilities, fitted on photos with known answers."""
