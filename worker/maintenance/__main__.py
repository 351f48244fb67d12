"""The maintenance process: ``python -m worker.maintenance``."""

from worker.maintenance.sweeper import main

main()
