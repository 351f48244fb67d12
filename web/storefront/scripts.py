"""The shopper's scripts: which files they are, and what they say, since no text is written in a script."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _

from web.i18n import DEFAULT, reader
from web.i18n.error_words import error_words

#: What the two entry scripts import: asked for together, not one after the other.
_SHARED = (
    "answers.js",
    "frame.js",
    "installed.js",
    "pictures.js",
    "result.js",
    "screen.js",
    "server.js",
    "share.js",
    "words.js",
)
MODULES = {
    "search": (*_SHARED, "flow.js", "past.js", "photo.js", "verdicts.js", "ways.js"),
    "product": _SHARED,
}


def script_words() -> dict[str, Any]:
    """Return the texts by the names that scripts know them by; %(name)s is filled in there.

    ``errors`` has a sentence for each error code, and none in English, where the answers have their own.
    """
    return {
        "errors": {} if reader().language == DEFAULT else error_words(),
        "preparing": _("Preparing the photo"),
        "sending": _("Sending the photo"),
        "looking": _("Looking for products"),
        "queued": _("Waiting for its turn"),
        "again": _("The connection is weak. Trying again in %(seconds)s s"),
        "busy_server": _("Many people are searching. Trying again in %(seconds)s s"),
        "offline": _("You are offline. It goes on by itself as soon as there is a connection."),
        "unreachable": _("The server cannot be reached. Check the connection and try again."),
        "wrong": _("Something went wrong. Try again in a moment."),
        "too_long": _("This takes too long. Try again later."),
        "no_picture": _("That is not a picture. Send a JPEG, PNG, WebP, AVIF or HEIC photo."),
        "too_big": _("This file has %(size)s MB, and %(most)s MB is the most. Take a smaller photo."),
        "empty_file": _("This file is empty. Choose another photo."),
        "failed": _("That did not work"),
        "many": _("Many people are searching"),
        "expired": _("This search has expired"),
        "missing": _("There is nothing here"),
        "start_title": _("Vitrine: find it by photo"),
        "result_title": _("Search result"),
        "copied": _("Copied"),
        "share": _("Share"),
        "pick": _("Search with this picture: %(name)s"),
        "dismissed": _("It is left out. Thank you."),
        "past": _("Search of %(when)s"),
        "corner_top_left": _("Corner of the frame, top left"),
        "corner_top_right": _("Corner of the frame, top right"),
        "corner_bottom_left": _("Corner of the frame, bottom left"),
        "corner_bottom_right": _("Corner of the frame, bottom right"),
        "place": _("%(x)s percent across, %(y)s percent down"),
    }
