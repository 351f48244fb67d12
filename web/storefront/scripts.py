"""The files and the translated texts of the shopper's scripts, which contain no texts themselves."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _

from web.i18n import DEFAULT, reader
from web.i18n.error_texts import error_texts
from web.storefront.brand import current_brand

#: Modules of both entry scripts; pages preload them together instead of one after the other.
_SHARED = (
    "answers.js",
    "frame.js",
    "install.js",
    "pictures.js",
    "result.js",
    "root.js",
    "screen.js",
    "server.js",
    "share.js",
    "texts.js",
)
MODULES = {
    "search": (*_SHARED, "feedback.js", "flow.js", "history.js", "inputs.js", "photo.js"),
    "product": _SHARED,
}


def script_texts() -> dict[str, Any]:
    """Return the scripts' translated texts by name; the scripts fill in %(name)s.

    ``errors`` maps error codes to sentences; it is empty in English, where the API's messages are used.
    """
    return {
        "errors": {} if reader().language == DEFAULT else error_texts(),
        "preparing": _("Preparing the photo"),
        "sending": _("Sending the photo"),
        "searching": _("Searching for products"),
        "fetching": _("Fetching the picture"),
        "no_links": _("This shop does not open links. Save the picture and choose it here."),
        "queued": _("Waiting in the queue"),
        "retrying": _("Weak connection. Retrying in %(seconds)s s"),
        "busy_server": _("Many people are searching. Retrying in %(seconds)s s"),
        "offline": _("You are offline. The search continues automatically once you are connected."),
        "unreachable": _("The server cannot be reached. Check your connection and try again."),
        "internal": _("Something went wrong. Try again in a moment."),
        "too_long": _("This is taking too long. Try again later."),
        "not_a_picture": _("This file is not a picture. Use a JPEG, PNG, WebP, AVIF or HEIC photo."),
        "too_big": _("This file has %(size)s MB; the limit is %(max)s MB. Use a smaller photo."),
        "empty_file": _("This file is empty. Choose another photo."),
        "failed": _("That did not work"),
        "many": _("Many people are searching"),
        "expired": _("This search has expired"),
        "missing": _("Not found"),
        "start_title": _("%(name)s: find it by photo", name=current_brand().name),
        "brand": current_brand().name,
        "result_title": _("Search results"),
        "copied": _("Copied"),
        "share": _("Share"),
        "pick": _("Search with this picture: %(name)s"),
        "dismissed": _("Removed. Thank you."),
        "search_from": _("Search from %(when)s"),
        "corner_top_left": _("Corner of the frame, top left"),
        "corner_top_right": _("Corner of the frame, top right"),
        "corner_bottom_left": _("Corner of the frame, bottom left"),
        "corner_bottom_right": _("Corner of the frame, bottom right"),
        "position": _("%(x)s percent across, %(y)s percent down"),
    }
