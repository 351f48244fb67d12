"""The command line, with training cut down to what tests wait for: ``python -m tests.small_training``.

Training runs in a process of its own, as shops run it. PyTorch's loader leaves a handler for the deaths of
children in the process that it runs in: in the tests' own, the next child that was killed took the
whole run with it.
"""

from __future__ import annotations

from cli.main import app
from worker.training import detector, detector_job, embedder_job


def cut_down() -> None:
    embedder_job.MIN_HELD_OUT_SCENES = 20
    embedder_job.CALIBRATION = 16
    detector.VALIDATION_PICTURES = 6
    detector_job.THRESHOLD_PICTURES = 6
    detector_job.PICTURES = 12  # type: ignore[attr-defined]  # where it is used, not where it is defined
    detector_job.REPORT_PICTURES = 4


if __name__ == "__main__":
    cut_down()
    app()
