"""Parts that every process is built from: factories, logging, metrics, threads."""
