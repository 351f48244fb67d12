"""Translate the product titles of a stored result for the current reader."""

from __future__ import annotations

from shared.catalogue.display import choose_title
from shared.contracts import Hit, SearchResult
from shared.errors import UnknownCatalogue
from web.i18n import reader
from web.services import services


def translate_titles(result: SearchResult) -> SearchResult:
    """Return the result with the catalogue's current titles in the reader's language."""
    hits = [*result.whole.hits, *(hit for thing in result.objects for hit in thing.hits)]
    product_ids = {hit.product_id for hit in hits}
    try:
        titles = services().catalogue.titles(result.catalogue, product_ids)
    except UnknownCatalogue:
        return result  # the catalogue was deleted, so the stored titles stay
    locale = reader().titles

    def translate(hit: Hit) -> Hit:
        if hit.product_id not in titles:
            return hit
        return hit.model_copy(update={"title": choose_title(titles[hit.product_id], locale, hit.title)})

    objects = [o.model_copy(update={"hits": [translate(hit) for hit in o.hits]}) for o in result.objects]
    whole = result.whole.model_copy(update={"hits": [translate(hit) for hit in result.whole.hits]})
    return result.model_copy(update={"objects": objects, "whole": whole})
