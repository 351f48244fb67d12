"""The Celery application of the workers: ``celery -A worker.app worker --queues search``.

The parent process loads no model: the pool's child does, after it was spawned.
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
from worker import shutdown as stopping
from worker import tasks
from worker.health.liveness import watch
from worker.vision.models import verify_models

#: Tell the spawned child which lane it serves and under which name; set by the parent, inherited by it.
_LANE_VARIABLE = "VITRINE_WORKER_LANE"
_NAME_VARIABLE = "VITRINE_WORKER_NAME"
_START_AGAIN_S = 2.0

log = logging.getLogger(__name__)

settings = get_settings()
app = make_celery(settings.redis_url)
# A spawned child gets the application without this module; being included, it is imported there too.
app.conf.include = [__name__]
# A broker that refuses a command is waited for, like one that is away: the child and its models stay.
app.conf.worker_consumer = "worker.health.consumer:PatientConsumer"
app.conf.broker_channel_error_retry = True
tasks.register(app)


@signals.celeryd_after_setup.connect
def _remember_lane(sender: str, instance: Any, **_: Any) -> None:
    queues = list(instance.app.amqp.queues.consume_from)
    lanes = [lane for lane in Lane if str(lane) in queues]
    if len(lanes) != 1:
        raise SystemExit("Start a worker with exactly one lane: --queues search, or --queues catalogue.")
    os.environ[_LANE_VARIABLE] = str(lanes[0])
    os.environ[_NAME_VARIABLE] = sender
    signals.worker_shutting_down.connect(lambda **_: stopping.pass_on(instance), weak=False)
    try:
        # The pool's processes inherit the mask that this sets.
        secure_data_folder(settings.data_dir)
        verify_models(settings.models_folder, settings.models.detector, settings.models.embedder)
        _require_schema()
    except (Misconfigured, StorageUnavailable) as error:
        # Here and not in the child, which the pool would start again for ever.
        raise SystemExit(f"This worker cannot start: {error.message}") from error
    watch(settings, lanes[0], sender)


def _require_schema() -> None:
    try:
        open_migrated_database(settings).close()
    except DatabaseUnavailable as error:
        # The pool's child waits for the database.
        log.warning("the schema is not checked: %s", error.message)


@signals.setup_logging.connect
def _log_our_way(**_: Any) -> None:
    configure_logging(settings.log.level, settings.log.format, os.environ.get(_LANE_VARIABLE, "worker"))


@signals.worker_process_init.connect
def _start(**_: Any) -> None:
    stopping.listen()
    lane = Lane(os.environ[_LANE_VARIABLE])
    configure_logging(settings.log.level, settings.log.format, str(lane))
    try:
        tasks.start(settings, lane, os.environ[_NAME_VARIABLE])
    except Exception:
        # Celery would log it and go on with a child that takes work and can do none.
        log.exception("this worker could not start: it tries again")
        time.sleep(_START_AGAIN_S)
        os._exit(1)


@signals.worker_process_shutdown.connect
def _stop(**_: Any) -> None:
    tasks.stop()
