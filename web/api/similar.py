"""Find products similar to a product: a short form of a search by its id, for product pages."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.contracts import SearchRequest, TaskStatus
from web.api.catalogues import get_product
from web.api.openapi import Parameter, operation
from web.api.searches import COMMON_PARAMETERS, accept_search, answer_search
from web.http.bodies import parse_model, read_query
from web.http.product_paths import is_part_of_id

blueprint = Blueprint("similar", __name__)

_OPTIONS = tuple(
    Parameter(name, SearchRequest.model_fields[name].description or "As for any search")
    for name in ("top_k", "category", "filter", "min_score", "like", "unlike", "locale", "currency")
)


@blueprint.get("/v1/catalogues/<catalogue>/products/<product:product_id>/similar")
@operation(
    "Find products similar to any picture of a product",
    "Searches",
    {202: TaskStatus, 200: TaskStatus},
    parameters=(*_OPTIONS, *COMMON_PARAMETERS),
    errors=(409,),
)
def search_similar(catalogue: str, product_id: str) -> Response:
    if is_part_of_id("similar"):
        return get_product(catalogue, f"{product_id}/similar")
    options = read_query(lists=("like", "unlike"))
    body = parse_model(SearchRequest, {**options, "catalogue": catalogue, "product_id": product_id})
    return answer_search(accept_search(body))
