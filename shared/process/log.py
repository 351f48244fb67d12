"""Structured logging: one event with fields per line, as text or JSON."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.types import EventDict, ExcInfo, Processor

# Libraries that log every call at INFO: only their warnings are logged.
_QUIET = (
    *("httpx", "httpcore", "urllib3", "botocore", "alembic", "PIL", "asyncio"),
    # Two lines per task, which Flower shows anyway. Failures are warnings or errors.
    *("celery.worker.strategy", "celery.app.trace"),
)

bound = structlog.contextvars.bound_contextvars
"""Context manager: ``with bound(request_id=...)`` adds fields to every event inside it."""

get_logger = structlog.get_logger


#: C0 and C1 control characters, DEL, bidirectional controls, and characters that some readers treat as line
#: ends.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: Maximum depth at which values of events are encoded.
_MAX_DEPTH = 8


def encode_controls(text: str, keep: str = "") -> str:
    r"""Escape control characters (``\x1b``), which could control a terminal or forge a line.

    Args:
        keep: characters to leave unchanged.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def configure_logging(level: str, format: Literal["text", "json"], process_name: str) -> None:
    """Send structlog's and the standard library's events to standard error in one format.

    Args:
        level: minimum level, ``DEBUG`` to ``ERROR``.
        format: ``text`` or ``json``.
        process_name: value of ``process`` in every event.
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
        _encode_event,
    ]


def _encode_event(_: Any, __: str, event: EventDict) -> EventDict:
    """Encode control characters in the text and all fields, some of which contain untrusted input."""
    for name, value in event.items():
        # ``_write_traceback`` encodes exceptions and stacks, which have several lines.
        if name not in ("exc_info", "exception", "stack") and not name.startswith("_"):
            event[name] = _encoded(value, _MAX_DEPTH)
    return event


def _encoded(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return encode_controls(value)
    if isinstance(value, bytes | bool | int | float | None) or depth == 0:
        return value
    if isinstance(value, dict):
        return {_encoded(name, depth - 1): _encoded(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_encoded(inner, depth - 1) for inner in value]
    return encode_controls(str(value))


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write an indented traceback, so that none of its lines looks like an event."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    lines = encode_controls(text.getvalue(), keep="\n\t").splitlines()
    out.write("\n".join(f"    {line}" for line in lines))


def _renderers(format: Literal["text", "json"]) -> list[Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Rich tracebacks would print local variables, which may be secrets.
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_write_traceback)]
