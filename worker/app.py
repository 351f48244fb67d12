"""Create the workers' Celery application: ``celery -A worker.app worker --queues search``.

The parent process loads no model: the pool's child does, after it is spawned.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from celery import signals

from shared.broker.celery_config import make_celery
from shared.broker.task_names import Lane
from shared.errors import DatabaseUnavailable, Misconfigured, StorageUnavailable
from shared.factories import open_migrated_database
from shared.process.log import configure_logging
from shared.settings import get_settings
from shared.storage.private_files import secure_data_folder
from worker import shutdown, tasks
from worker.health.liveness import watch
from worker.vision.models import verify_models

#: Environment variables by which the parent passes its lane and its name to the spawned child.
_LANE_VARIABLE = "VITRINE_WORKER_LANE"
_NAME_VARIABLE = "VITRINE_WORKER_NAME"
#: Delay before a child that could not start exits, so that the pool does not respawn it in a busy loop.
_RESTART_DELAY_S = 2.0

log = logging.getLogger(__name__)

settings = get_settings()
app = make_celery(settings.redis_url)
# A spawned child unpickles the application without this module, so that it must be included.
app.conf.include = [__name__]
# Wait for a broker that refuses commands, as for one that is unreachable: the child keeps its models.
app.conf.worker_consumer = "worker.health.consumer:PatientConsumer"
app.conf.broker_channel_error_retry = True
tasks.register(app)


@signals.celeryd_after_setup.connect
def _prepare_parent(sender: str, instance: Any, **_: Any) -> None:
    queues = list(instance.app.amqp.queues.consume_from)
    lanes = [lane for lane in Lane if str(lane) in queues]
    if len(lanes) != 1:
        raise SystemExit("Start a worker with exactly one lane: --queues search, or --queues catalogue.")
    os.environ[_LANE_VARIABLE] = str(lanes[0])
    os.environ[_NAME_VARIABLE] = sender
    signals.worker_shutting_down.connect(lambda **_: shutdown.notify_children(instance), weak=False)
    try:
        # The pool's processes inherit the umask that this sets.
        secure_data_folder(settings.data_dir)
        verify_models(settings.models_folder, settings.models.detector, settings.models.embedder)
        _require_schema()
    except (Misconfigured, StorageUnavailable) as error:
        # Exit in the parent: the pool would respawn a failing child for ever.
        raise SystemExit(f"This worker cannot start: {error.message}") from error
    watch(settings, lanes[0], sender)


def _require_schema() -> None:
    try:
        open_migrated_database(settings).close()
    except DatabaseUnavailable as error:
        # The pool's child waits for the database and checks the schema then.
        log.warning("the schema is not checked: %s", error.message)


@signals.setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(settings.log.level, settings.log.format, os.environ.get(_LANE_VARIABLE, "worker"))


@signals.worker_process_init.connect
def _start_child(**_: Any) -> None:
    shutdown.install_handler()
    lane = Lane(os.environ[_LANE_VARIABLE])
    configure_logging(settings.log.level, settings.log.format, str(lane))
    try:
        tasks.start(settings, lane, os.environ[_NAME_VARIABLE])
    except Exception:
        # Celery would log the error and keep a child that claims work which it cannot do.
        log.exception("this worker could not start and is restarted")
        time.sleep(_RESTART_DELAY_S)
        os._exit(1)


@signals.worker_process_shutdown.connect
def _stop_child(**_: Any) -> None:
    tasks.stop()
