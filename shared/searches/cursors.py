"""Encode where the next page of a group starts, as opaque text that a caller returns."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from dataclasses import dataclass

from shared.errors import InvalidInput

#: The group of the whole image; objects are counted from 0.
WHOLE = -1
_CURSOR = re.compile(rb"([0-9a-f]{32})\.(-1|0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the results of a search.

    Attributes:
        search: id of the search that produced the first page.
        group: number of the object on the first page, or ``WHOLE``.
        offset: number of products of the group between the first page and this position.
    """

    search: str
    group: int
    offset: int

    def text(self) -> str:
        text = f"{uuid.UUID(self.search).hex}.{self.group}.{self.offset}"
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read_cursor(text: str) -> Cursor:
    """Parse the text of a cursor.

    Raises:
        InvalidInput: the text is no cursor. ``field`` is "after".
    """
    try:
        found = _CURSOR.fullmatch(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise InvalidInput("after: send the `next` of an earlier answer unchanged.", "after")
    return Cursor(str(uuid.UUID(found[1].decode())), int(found[2]), int(found[3]))
