"""Measure the search and detection quality of a pipeline on a labelled set."""
