"""Where the next page of a group begins, as text that a caller hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from dataclasses import dataclass

from shared.errors import InvalidInput

#: The group of the whole image; objects are counted from 0.
WHOLE = -1
_SAID = re.compile(rb"([0-9a-f]{32})\.(-1|0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the answers to a search.

    Attributes:
        search: the id of the search that made the first page.
        group: number of the object as the first page listed it, or ``WHOLE``.
        offset: how many products of the group lie between the first page and this place.
    """

    search: str
    group: int
    offset: int

    def text(self) -> str:
        said = f"{uuid.UUID(self.search).hex}.{self.group}.{self.offset}"
        return base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()


def read_cursor(text: str) -> Cursor:
    """Return what ``Cursor.text`` wrote.

    Raises:
        InvalidInput: it is no such text. ``field`` is "after".
    """
    try:
        found = _SAID.fullmatch(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise InvalidInput("after: hand back what an answer gave as `next`, unchanged.", "after")
    return Cursor(str(uuid.UUID(found[1].decode())), int(found[2]), int(found[3]))
