"""A stored answer in the language of who reads it now, who need not be who searched."""

from __future__ import annotations

from shared.catalogue.titles import choose_title
from shared.contracts import Hit, SearchResult
from shared.errors import UnknownCatalogue
from web.i18n import reader
from web.services import services


def retitled(result: SearchResult) -> SearchResult:
    """Return the answer with each product's title in the reader's language, as the catalogue has it now."""
    hits = [*result.whole.hits, *(hit for thing in result.objects for hit in thing.hits)]
    found = {hit.product_id for hit in hits}
    try:
        titles = services().catalogue.titles(result.catalogue, found)
    except UnknownCatalogue:
        return result  # deleted since: the titles of that time are all there is
    locale = reader().titles

    def of(hit: Hit) -> Hit:
        if hit.product_id not in titles:
            return hit
        return hit.model_copy(update={"title": choose_title(titles[hit.product_id], locale, hit.title)})

    objects = [o.model_copy(update={"hits": [of(hit) for hit in o.hits]}) for o in result.objects]
    whole = result.whole.model_copy(update={"hits": [of(hit) for hit in result.whole.hits]})
    return result.model_copy(update={"objects": objects, "whole": whole})
