"""What resembles a product: the short form of a search by its id, for a shop's product page."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.contracts import SearchRequest, TaskStatus
from web.api.openapi import Parameter, operation
from web.api.searches import HOW, accept_request, answered
from web.http.bodies import query_fields
from web.http.errors import parsed

blueprint = Blueprint("similar", __name__)

_OPTIONS = tuple(
    Parameter(name, SearchRequest.model_fields[name].description or "As of any search")
    for name in ("top_k", "category", "filter", "min_score", "like", "unlike", "locale", "currency")
)


@blueprint.get("/v1/catalogues/<catalogue>/products/<product_id>/similar")
@operation(
    "What resembles a product, by any of its pictures",
    "Searches",
    {202: TaskStatus, 200: TaskStatus},
    parameters=(*_OPTIONS, *HOW),
    errors=(401, 404, 409, 422, 429, 503),
)
def similar(catalogue: str, product_id: str) -> Response:
    options = query_fields(lists=("like", "unlike"))
    wanted = parsed(SearchRequest, {**options, "catalogue": catalogue, "product_id": product_id})
    return answered(accept_request(wanted))
