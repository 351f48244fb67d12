"""Celery configuration of publishers and workers.

A message only wakes a worker; the database has the work. Therefore messages are acknowledged early: the
maintenance process publishes lost ones again, and no redelivery can race with a lease.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from shared.broker.task_names import LANE_OF, TaskName

#: Time limit of a search batch, after which its process is replaced as hung.
SEARCH_LIMIT_S = 25
_OF_SEARCHES = {"time_limit": SEARCH_LIMIT_S, "soft_time_limit": SEARCH_LIMIT_S - 5}
#: Time limit of a chunk. Its worker usually detects a hang itself (``jobs.hang_s``); this limit covers a
#: library that never releases the GIL.
CHUNK_LIMIT_S = 6 * 3600
#: Loading models takes seconds; the default of 4 s would kill every replacement process.
PROCESS_START_LIMIT_S = 180


def make_celery(redis_url: str, socket_timeout_s: float = 5.0) -> Celery:
    """Build the Celery application.

    Args:
        redis_url: the broker, ``redis://`` or ``rediss://``.
        socket_timeout_s: limit that keeps a half-open connection from blocking a process for ever.
    """
    app = Celery("vitrine", broker=redis_url, set_as_current=False)
    app.conf.update(_settings(socket_timeout_s))
    return app


def _settings(socket_timeout_s: float) -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_routes": {str(name): {"queue": str(lane)} for name, lane in LANE_OF.items()},
        "task_create_missing_queues": True,
        "task_annotations": {
            str(TaskName.ANSWER_SEARCH): _OF_SEARCHES,
            str(TaskName.WORK_CHUNK): {"time_limit": CHUNK_LIMIT_S},
        },
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": min(2.0, socket_timeout_s),
            "socket_keepalive": True,
            "health_check_interval": 5,
            # A message that a busy worker holds for longer is delivered again, which is harmless.
            "visibility_timeout": 900,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        },
        # Explicit, because the default of Celery 6 cancels the running task when the connection is lost.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",  # CUDA cannot be used in a forked child
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_proc_alive_timeout": PROCESS_START_LIMIT_S,
        "worker_send_task_events": True,
        # The sent event costs as much as the message itself; Flower shows a task from its receipt on.
        "task_send_sent_event": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": True,
        "timezone": "UTC",
    }
