"""Run the maintenance process: ``python -m worker.maintenance``."""

from __future__ import annotations

import logging
import signal
import socket
import threading

from shared.errors import DatabaseUnavailable, Misconfigured, VitrineError
from shared.factories import open_migrated_database
from shared.health.files import TOUCH_INTERVAL_S, LoopHeartbeat, health_file
from shared.health.presence import Presence
from shared.process.background import Periodic
from shared.process.log import configure_logging
from shared.settings import Settings, get_settings
from shared.storage.private_files import secure_data_folder
from worker.maintenance.sweeper import Sweeper, build_sweeper
from worker.maintenance.webhook_sender import TIMEOUT_S

log = logging.getLogger(__name__)


def main() -> None:
    """Sweep, send webhooks and probe recall until SIGTERM or SIGINT.

    Raises:
        SystemExit: the settings or the schema do not fit.
    """
    settings = get_settings()
    configure_logging(settings.log.level, settings.log.format, "maintenance")
    secure_data_folder(settings.data_dir)
    try:
        open_migrated_database(settings).close()
    except DatabaseUnavailable as error:
        log.warning("the schema is not checked: %s", error.message)
    except Misconfigured as error:
        raise SystemExit(f"The maintenance process cannot start: {error.message}") from error
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(settings, build_sweeper(settings), stop)


def run(settings: Settings, sweeper: Sweeper, stop: threading.Event) -> None:
    """Run sweeper, webhooks and probes, each in its own thread, until ``stop`` is set."""
    name = f"maintenance@{socket.gethostname()}"
    presence = Presence(sweeper.database)
    heartbeat = presence.start_heartbeat(name, "maintenance", dict)
    webhooks = threading.Thread(target=sweeper.webhooks.run, args=(stop,), name="webhooks", daemon=True)
    webhooks.start()
    threading.Thread(target=sweeper.prober.run, args=(stop,), name="probes", daemon=True).start()
    loop = LoopHeartbeat(health_file(settings.data_dir, name))
    health = Periodic("health", TOUCH_INTERVAL_S, loop.report, starts_now=True).start()
    while not stop.wait(settings.sweep.interval_s):
        loop.turn()
        try:
            sweeper.sweep()
        except VitrineError as error:
            log.warning("sweep put off: %s", error.message)
    health.stop()
    # Requests in flight end by their own deadline.
    webhooks.join(TIMEOUT_S)
    heartbeat.stop()
    presence.remove(name)


if __name__ == "__main__":
    main()
