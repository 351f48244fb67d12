"""A maintenance process that compares times by its host's clock: the control of the clock's tests."""

from __future__ import annotations

from shared.database import clock

clock.follow = lambda _: None  # type: ignore[assignment]

if __name__ == "__main__":
    from worker.maintenance.__main__ import main

    main()
