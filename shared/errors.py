"""All errors that cross a boundary of Vitrine.

::

    VitrineError                    code                   HTTP  retryable
    ├── InvalidInput                invalid_input           422
    │   ├── UnsupportedFormat       unsupported_format      415
    │   ├── UndecodableImage        undecodable_image       422
    │   ├── ImageTooLarge           image_too_large         422
    │   ├── BodyTooLarge            body_too_large          413
    │   ├── LengthRequired          length_required         411
    │   ├── InvalidManifest         invalid_manifest        422
    │   ├── ImageMissing            image_missing           422
    │   └── Unreachable             unreachable             422
    ├── Refused                     refused                 403
    │   ├── Unauthorized            unauthorized            401
    │   └── Conflict                conflict                409
    ├── NotFound                    not_found               404
    │   ├── UnknownCatalogue        unknown_catalogue       404
    │   ├── UnknownProduct          unknown_product         404
    │   ├── UnknownTask             unknown_task            404
    │   ├── UnknownJob              unknown_job             404
    │   ├── UnknownWebhook          unknown_webhook         404
    │   ├── IndexMissing            index_missing           404
    │   └── Expired                 expired                 410
    │       └── Deleted             deleted                 410
    ├── Unavailable                 unavailable             503   yes
    │   ├── BrokerUnavailable       broker_unavailable      503   yes
    │   ├── IndexUnavailable        index_unavailable       503   yes
    │   ├── StorageUnavailable      storage_unavailable     503   yes
    │   ├── DatabaseUnavailable     database_unavailable    503   yes
    │   ├── OutOfMemory             out_of_memory           503   yes
    │   └── Overloaded              overloaded              429   yes
    ├── UnreadableRow               unreadable_row          500
    └── Misconfigured               misconfigured           500

The HTTP column lives in ``web/http/errors.py``; a test holds the two tables together.
Arguments are positional and JSON-safe, so that an error survives the queue as its own class.
"""

from __future__ import annotations

from typing import ClassVar


class VitrineError(Exception):
    """Base of all errors.

    Args:
        message: one sentence for the caller: the error, and what to do about it.
        field: name of the invalid input, if there is one.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return self.message


class InvalidInput(VitrineError):
    code = "invalid_input"


class UnsupportedFormat(InvalidInput):
    code = "unsupported_format"


class UndecodableImage(InvalidInput):
    code = "undecodable_image"


class ImageTooLarge(InvalidInput):
    code = "image_too_large"


class BodyTooLarge(InvalidInput):
    code = "body_too_large"


class LengthRequired(InvalidInput):
    code = "length_required"


class InvalidManifest(InvalidInput):
    code = "invalid_manifest"


class ImageMissing(InvalidInput):
    code = "image_missing"


class Unreachable(InvalidInput):
    code = "unreachable"


class Refused(VitrineError):
    code = "refused"


class Unauthorized(Refused):
    code = "unauthorized"


class Conflict(Refused):
    code = "conflict"


class NotFound(VitrineError):
    code = "not_found"


class UnknownCatalogue(NotFound):
    code = "unknown_catalogue"


class UnknownProduct(NotFound):
    code = "unknown_product"


class UnknownTask(NotFound):
    code = "unknown_task"


class UnknownJob(NotFound):
    code = "unknown_job"


class UnknownWebhook(NotFound):
    code = "unknown_webhook"


class IndexMissing(NotFound):
    """Milvus lacks the collection of a catalogue's live index: waiting does not restore it."""

    code = "index_missing"


class Expired(NotFound):
    code = "expired"


class Deleted(Expired):
    """A search that its owner deleted with its photo."""

    code = "deleted"


class Unavailable(VitrineError):
    code = "unavailable"
    retryable = True


class BrokerUnavailable(Unavailable):
    code = "broker_unavailable"


class IndexUnavailable(Unavailable):
    code = "index_unavailable"


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class OutOfMemory(Unavailable):
    code = "out_of_memory"


class Overloaded(Unavailable):
    code = "overloaded"


class UnreadableRow(VitrineError):
    """A stored row that another version wrote, or that is damaged."""

    code = "unreadable_row"


class Misconfigured(VitrineError):
    code = "misconfigured"


def all_errors() -> dict[str, type[VitrineError]]:
    """Return all error classes by code, the base included."""
    found: dict[str, type[VitrineError]] = {}
    waiting: list[type[VitrineError]] = [VitrineError]
    while waiting:
        kind = waiting.pop()
        # A class with its parent's code is represented by its parent.
        found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return found
