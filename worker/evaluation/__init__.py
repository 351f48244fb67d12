"""How good a pipeline is: search quality and detection quality on a labelled set."""
