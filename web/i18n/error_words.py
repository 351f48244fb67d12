"""What each error code says to a reader: what happened, and what to do. The API itself speaks English."""

from __future__ import annotations

from flask_babel import gettext as _

from shared.contracts import ErrorBody
from web.i18n import reader

#: Errors whose own message says more than their code does: which value is wrong, and why.
_SAYS_MORE = (
    "invalid_input",
    "invalid_manifest",
    "conflict",
    "refused",
    "image_too_large",
    "unreachable",
    "overloaded",
)


def error_words() -> dict[str, str]:
    """Return the sentences by error code; ``internal`` is for what nobody foresaw."""
    return {
        "invalid_input": _("Something in what was sent is not right. Check it and send it again."),
        "unsupported_format": _("Such a file cannot be read. Send a JPEG, PNG, WebP, AVIF or HEIC photo."),
        "undecodable_image": _("This picture is damaged and cannot be read. Choose another photo."),
        "image_too_large": _("This picture is too large. Send a smaller one."),
        "body_too_large": _("This is more than the server takes at once. Send a smaller file."),
        "length_required": _("The file arrived without its size. Send it again."),
        "invalid_manifest": _("The product list cannot be read. Correct it and import it again."),
        "image_missing": _("There is no picture at this address. Check it, or send the picture itself."),
        "unreachable": _("The address could not be reached. Try again later or send the picture itself."),
        "refused": _("This is not allowed here."),
        "unauthorized": _("You are not signed in. Sign in and try again."),
        "conflict": _("Something else was changed in the meantime. Reload the page and try again."),
        "not_found": _("There is nothing at this address. It may have been moved or deleted."),
        "unknown_catalogue": _("This catalogue does not exist. Choose another one."),
        "unknown_product": _("This product is gone: it was deleted, or the address is wrong."),
        "unknown_task": _("This search was never made here, or it is long over."),
        "unknown_job": _("This job does not exist, or it is long over."),
        "unknown_webhook": _("This webhook does not exist. It may have been deleted."),
        "index_missing": _("The search index of this shop has to be built again. Try again later."),
        "expired": _("Searches are kept for a while only. Search again with the photo."),
        "unavailable": _("Part of the server is not ready. Try again in a moment."),
        "broker_unavailable": _("The queue of searches is not reachable. Try again in a moment."),
        "index_unavailable": _("The search index is not reachable. Try again in a moment."),
        "storage_unavailable": _("The picture store is not reachable or full. Try again later."),
        "database_unavailable": _("The database is not reachable. Try again in a moment."),
        "out_of_memory": _("The server is out of memory. Try again in a moment, or with a smaller picture."),
        "overloaded": _("Too many searches are waiting. Try again in a moment."),
        "unreadable_row": _(
            "Something went wrong on the server. Try again; if it stays, tell whoever runs it."
        ),
        "misconfigured": _("The server is not set up correctly. Tell whoever runs it."),
        "internal": _("Something went wrong on the server. Try again; if it stays, tell whoever runs it."),
    }


#: Reasons of a job's failures that are errors by another name.
_REASONS = {"missing_image": "image_missing"}
#: Errors whose sentence is right for a picture of an import too: what happened to it, and what to do.
_OF_PICTURES = (
    "unsupported_format",
    "undecodable_image",
    "image_too_large",
    "image_missing",
    "unreachable",
    "refused",
)


def reason_said(reason: str) -> str:
    """What a failure's reason code means, in the reader's language; empty where its English message tells."""
    code = _REASONS.get(reason, reason)
    if reader().language == "en" or code not in _OF_PICTURES:
        return ""
    return error_words()[code]


def said(error: ErrorBody) -> str:
    """Filter: what happened and what to do; in English the error's own message, which knows the values."""
    if reader().language == "en":
        return error.message
    words = error_words()
    return words.get(error.code, words["internal"])


def detail(error: ErrorBody) -> str:
    """Filter: the English message where it adds to ``said``, else empty."""
    return error.message if error.code in _SAYS_MORE and reader().language != "en" else ""
