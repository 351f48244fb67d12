"""The maintenance process, ``python -m worker.maintenance``: sweeps, webhooks and recall probes."""
