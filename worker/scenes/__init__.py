"""Composed scenes of catalogue products, for calibration and training."""
