"""Serve the widget: a script that shops put into their own pages, and its texts. See docs/widget.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel import Locale
from flask import Blueprint, Response, g, jsonify
from flask_babel import force_locale
from flask_babel import gettext as _

from shared.errors import NotFound
from shared.widget_script import read_widget, widget_version
from web.i18n import DEFAULT, match_language
from web.i18n.error_texts import error_texts

blueprint = Blueprint("widget", __name__)

SCRIPT = Path(__file__).parent.parent / "widget" / "vitrine.js"
_YEAR_S = 31_536_000
#: Pages with the plain address get a new widget within this time after an update.
_FRESH_S = 300


@blueprint.get("/widget/vitrine.js")
def get_script() -> Response:
    """Serve the current widget."""
    return _to_any_page(
        Response(read_widget(SCRIPT), mimetype="text/javascript"), f"public, max-age={_FRESH_S}"
    )


@blueprint.get("/widget/<version>/vitrine.js")
def get_pinned_script(version: str) -> Response:
    """Serve one version of the widget, whose bytes never change, for tags with an integrity hash."""
    if version != widget_version(SCRIPT):
        raise NotFound(
            f"The widget's version {version} is not served here any more. `vitrine widget` prints a new tag."
        )
    script = Response(read_widget(SCRIPT), mimetype="text/javascript")
    return _to_any_page(script, f"public, max-age={_YEAR_S}, immutable")


@blueprint.get("/widget/texts/<language>.json")
def get_texts(language: str) -> Response:
    """Serve the widget's texts in the language that is closest to a page's, such as ``de-AT``."""
    found = match_language(language) or DEFAULT
    with force_locale(found):
        texts = widget_texts()
    tag = found.replace("_", "-")
    texts |= {"language": tag, "direction": Locale.parse(found).text_direction}
    return _to_any_page(jsonify(texts), "public, max-age=3600")


def widget_texts() -> dict[str, Any]:
    """Return the translated texts by the names that the widget's script uses."""
    return {
        "button": _("Find products by photo."),
        "drop": _("Drop or paste a photo here"),
        "take": _("Take a photo"),
        "choose": _("Choose a photo"),
        "preparing": _("Preparing the photo"),
        "searching": _("Searching for products"),
        "close": _("Close"),
        "retry": _("Try again"),
        "another": _("Try another photo"),
        "similar": _("Similar products"),
        "more": _("Show more"),
        "category": _("Category"),
        "all": _("All"),
        "price": _("Price in %(currency)s"),
        "from": _("from"),
        "to": _("to"),
        "apply": _("Apply"),
        "photo": _("Your photo"),
        "object": _("Object %(number)s"),
        "tap": _("Tap an object to see similar products."),
        "no_filtered": _("No matches with these filters."),
        "none": _("No similar products found. Try a closer photo of the product alone."),
        "found": _("Closest matches") + ": %(num)s",
        "unreachable": _("The server cannot be reached. Check your connection and try again."),
        "internal": _("Something went wrong. Try again in a moment."),
        "too_long": _("This is taking too long. Try again later."),
        "not_a_picture": _("This file is not a picture. Use a JPEG, PNG, WebP, AVIF or HEIC photo."),
        "empty_file": _("This file is empty. Choose another photo."),
        # The shop's errors are no concern of a shopper: the widget shows "internal" for them.
        "errors": {code: sentence for code, sentence in error_texts().items() if code in _SHOPPERS_ERRORS},
    }


_SHOPPERS_ERRORS = {
    "unsupported_format",
    "undecodable_image",
    "image_too_large",
    "body_too_large",
    "overloaded",
    "expired",
    "deleted",
    "unavailable",
    "index_unavailable",
}


def _to_any_page(answer: Response, cache: str) -> Response:
    """Let pages of any site use an answer, which has no data of the shop."""
    answer.headers["Cache-Control"] = cache
    answer.headers["Access-Control-Allow-Origin"] = "*"
    g.resource_policy = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return answer
