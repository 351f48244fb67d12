"""Validate the options of a search, and find or store what it searches with."""

from __future__ import annotations

from dataclasses import replace

from shared.contracts import SearchOptions, SearchRequest
from shared.errors import Expired, InvalidInput
from shared.filters import parse
from shared.searches.cursors import read_cursor
from shared.searches.repository import SearchSource
from web.http.principals import current_principal
from web.http.scope import require_catalogue, require_result, require_search
from web.http.url_fetches import fetch_query_image
from web.i18n.money import current_rates
from web.services import Services

_SOURCES = ("image_url", "product_id", "query_id")
#: Fields allowed in a request for a further page; the others come from the first page.
_PAGE_FIELDS = {"after", "top_k", "locale", "currency"}


def resolve_source(parts: Services, body: SearchRequest, by_link: bool) -> tuple[SearchOptions, SearchSource]:
    """Return options and source of a search without an upload.

    Args:
        by_link: the caller may search with the photo of a result that it knows by link.
    """
    require = require_result if by_link else require_search
    if body.after is not None:
        require(current_principal(), read_cursor(body.after).search)
        return _resolve_next_page(parts, body, body.after)
    sources = [name for name in _SOURCES if getattr(body, name) is not None]
    if len(sources) > 1 or not (sources or body.like):
        raise InvalidInput("Send exactly one of image_url, product_id and query_id, or like.", "image_url")
    given = body.model_dump(exclude=set(_SOURCES), exclude_unset=True)
    options = validate_options(parts, SearchOptions.model_validate(given))
    if body.query_id is not None:
        require(current_principal(), body.query_id)
        source = _find_source(parts, body.query_id)
        # A box refers to the first photo only, so the others are left out.
        return options, source if body.box is None else replace(source, more_photos=())
    if body.image_url is None:
        return options, SearchSource(product_id=body.product_id)
    if not parts.settings.web.url_import:
        raise InvalidInput("URL import is off. Upload the picture.", "image_url")
    return options, store_photos(parts, options, [fetch_query_image(body.image_url)])


def _resolve_next_page(
    parts: Services, body: SearchRequest, after: str
) -> tuple[SearchOptions, SearchSource]:
    """Return options and source of a further page: those of the first page, with what ``body`` changes."""
    others = sorted(body.model_fields_set - _PAGE_FIELDS)
    if others:
        raise InvalidInput(
            f"A further page takes only after, top_k, locale and currency. Remove {others[0]}.",
            others[0],
        )
    first = parts.searches.load_earlier(read_cursor(after).search)
    if first.state != "succeeded":
        raise InvalidInput("The search of the first page did not succeed.", "after")
    chosen = {name: getattr(body, name) for name in body.model_fields_set}
    return validate_options(parts, first.options.model_copy(update=chosen)), first.source


def store_photos(parts: Services, options: SearchOptions, photos: list[bytes]) -> SearchSource:
    """Encode the photos again in a child process, and store them."""
    if options.after is not None:
        raise InvalidInput("Request a further page as JSON, without the photo.", "after")
    if options.box is not None and len(photos) > 1:
        raise InvalidInput("A box applies to one photo. Send only that photo.", "box")
    keys, limits = [], parts.settings.images
    for data in photos:
        picture = parts.photos.normalise(data, limits.query_side_px, limits.query_max_bytes)
        keys.append(parts.store.put(picture.jpeg, "queries"))
    return SearchSource(keys[0], tuple(keys[1:]))


def _find_source(parts: Services, query_id: str) -> SearchSource:
    """Return the source of an earlier search by photo."""
    earlier = parts.searches.load_earlier(query_id)
    key = earlier.source.query_key
    if key is None:
        raise InvalidInput("That search was by product and has no photo.", "query_id")
    if not earlier.embedded and not parts.store.exists(key, "queries"):
        raise Expired("The photo of that search has expired. Send it again.", "query_id")
    return earlier.source


def validate_options(parts: Services, options: SearchOptions) -> SearchOptions:
    """Return the options with their catalogue.

    Raises:
        InvalidInput: a wrong top_k, currency, filter or boost, or no catalogue where there are several.
        UnknownCatalogue: the key may not access the catalogue.
    """
    options = _choose_catalogue(options)
    limit = parts.settings.search.top_k_max
    if options.top_k > limit:
        raise InvalidInput(f"top_k: at most {limit} hits per group.", "top_k")
    currency = options.currency
    if currency is not None and ((rates := current_rates()) is None or currency not in rates.currencies):
        raise InvalidInput(
            f"There is no rate for {currency}: `vitrine rates show` lists the currencies.", "currency"
        )
    if options.filter is not None:
        parse(options.filter)
    for boost in options.boosts or ():
        parse(boost.filter)
    return options


def _choose_catalogue(options: SearchOptions) -> SearchOptions:
    """Return the options with the only catalogue of the key, if they name none."""
    principal = current_principal()
    if "catalogue" not in options.model_fields_set:
        if principal.only_catalogue is not None:
            return options.model_copy(update={"catalogue": principal.only_catalogue})
        if principal.catalogues:
            names = ", ".join(sorted(principal.catalogues))
            raise InvalidInput(f"Name the catalogue to search. You may search: {names}.", "catalogue")
    require_catalogue(principal, options.catalogue)
    return options
