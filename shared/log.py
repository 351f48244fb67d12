"""Structured logging: one line is one event with fields, as text for people or JSON for collectors."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.types import EventDict, Processor

# Libraries that log every call at INFO: their warnings are wanted, their chatter is not.
_QUIET = (
    *("httpx", "httpcore", "urllib3", "botocore", "alembic", "PIL", "asyncio"),
    # Two lines for every task, which Flower shows. What goes wrong is a warning or an error.
    *("celery.worker.strategy", "celery.app.trace"),
)

bound = structlog.contextvars.bound_contextvars
"""Context manager: ``with bound(request_id=...)`` adds fields to every event inside it."""

get_logger = structlog.get_logger


def configure_logging(level: str, format: Literal["text", "json"], process_name: str) -> None:
    """Send structlog's and the standard library's events to standard error in one format.

    Args:
        level: least level shown, ``DEBUG`` to ``ERROR``.
        format: ``text`` or ``json``.
        process_name: goes into every event as ``process``.
    """
    shared = _shared_processors(process_name)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _shared_processors(process_name: str) -> list[Processor]:
    def add_process(_: Any, __: str, event: EventDict) -> MutableMapping[str, Any]:
        event["process"] = process_name
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_process,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderers(format: Literal["text", "json"]) -> list[Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Rich tracebacks print local variables, and a local variable may be a secret.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
