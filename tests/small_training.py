"""The command line, with training cut down to what tests wait for: ``python -m tests.small_training``.

Training runs in a process of its own, as shops run it. PyTorch's loader leaves a handler for the deaths of
children in the process that it runs in: in the tests' own, the next child that was killed took the
whole run with it.
"""

from __future__ import annotations

from cli.main import app
from worker.training import detector, detector_job, embedder_job


def cut_down() -> None:
    embedder_job.LEAST_JUDGED = 20
    embedder_job.CALIBRATION = 16
    detector.JUDGED = 6
    detector_job.JUDGED = 6
    detector_job.PICTURES = 12
    detector_job.SHOWN = 4


if __name__ == "__main__":
    cut_down()
    app()
