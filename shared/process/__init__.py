"""Parts of every process: logging, metrics, threads and back-off."""
