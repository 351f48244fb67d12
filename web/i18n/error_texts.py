"""Translate error codes into sentences for readers of pages; API errors stay English."""

from __future__ import annotations

from flask_babel import gettext as _

from shared.contracts import ErrorBody
from web.i18n import reader

#: Errors whose message adds details to the translated sentence, such as the invalid value.
_WITH_DETAIL = (
    "invalid_input",
    "invalid_manifest",
    "conflict",
    "refused",
    "image_too_large",
    "unreachable",
    "overloaded",
)

#: Errors of addresses, whose messages name ids and calls of the API.
_SENTENCES_IN_ENGLISH = (
    "not_found",
    "unknown_catalogue",
    "unknown_product",
    "unknown_task",
    "unknown_job",
    "unknown_webhook",
    "expired",
)


def error_texts() -> dict[str, str]:
    """Return the translated sentences by error code; ``internal`` also covers unknown codes."""
    return {
        "invalid_input": _("Some of the information is not valid. Check it and try again."),
        "unsupported_format": _(
            "This file type is not supported. Use a JPEG, PNG, WebP, AVIF or HEIC photo."
        ),
        "undecodable_image": _("This picture is damaged and cannot be opened. Choose another photo."),
        "image_too_large": _("This picture is too large. Use a smaller one."),
        "body_too_large": _("This file is too large for the server. Send a smaller one."),
        "length_required": _("The upload did not state its size. Send the file again."),
        "invalid_manifest": _("The product list cannot be read. Correct it and import it again."),
        "image_missing": _("There is no picture at this address. Check the address, or upload the picture."),
        "unreachable": _("The address could not be reached. Try again later, or upload the picture."),
        "refused": _("This is not allowed."),
        "unauthorized": _("You are not signed in. Sign in and try again."),
        "conflict": _("Something changed in the meantime. Reload the page and try again."),
        "not_found": _("This page does not exist. It may have been moved or deleted."),
        "unknown_catalogue": _("This catalogue does not exist. Choose another one."),
        "unknown_product": _("This product was deleted, or the address is wrong."),
        "unknown_task": _("This search does not exist or has expired."),
        "unknown_job": _("This job does not exist or has expired."),
        "unknown_webhook": _("This webhook does not exist. It may have been deleted."),
        "index_missing": _("The search index of this shop must be rebuilt. Try again later."),
        "expired": _("Searches are only kept for a while. Search again with your photo."),
        "deleted": _("This search was deleted with its photo. Search again with a photo."),
        "unavailable": _("Part of the server is not ready. Try again in a moment."),
        "broker_unavailable": _("The search queue is unavailable. Try again in a moment."),
        "index_unavailable": _("The search index is unavailable. Try again in a moment."),
        "storage_unavailable": _("The picture storage is unavailable or full. Try again later."),
        "database_unavailable": _("The database is unavailable. Try again in a moment."),
        "out_of_memory": _("The server is out of memory. Try again in a moment, or with a smaller picture."),
        "overloaded": _("Too many searches are waiting. Try again in a moment."),
        "unreadable_row": _(
            "Something went wrong on the server. Try again. If it happens again, contact the administrator."
        ),
        "misconfigured": _("The server is not set up correctly. Contact the administrator."),
        "internal": _(
            "Something went wrong on the server. Try again. If it happens again, contact the administrator."
        ),
    }


#: Failure reasons of jobs that name an error differently.
_REASONS = {"missing_image": "image_missing"}
#: Errors whose sentence also fits a picture of an import.
_OF_PICTURES = (
    "unsupported_format",
    "undecodable_image",
    "image_too_large",
    "image_missing",
    "unreachable",
    "refused",
)


def describe_failure(reason: str) -> str:
    """Translate the reason code of a job's failure; empty if its English message is the best text."""
    code = _REASONS.get(reason, reason)
    if reader().language == "en" or code not in _OF_PICTURES:
        return ""
    return error_texts()[code]


def error_text(error: ErrorBody) -> str:
    """Filter: return the translated sentence of an error; in English its own message where that says more."""
    if reader().language == "en" and error.code not in _SENTENCES_IN_ENGLISH:
        return error.message
    texts = error_texts()
    return texts.get(error.code, texts["internal"])


def error_detail(error: ErrorBody) -> str:
    """Filter: return the English message if it adds details to ``error_text``, else an empty text."""
    return error.message if error.code in _WITH_DETAIL and reader().language != "en" else ""
