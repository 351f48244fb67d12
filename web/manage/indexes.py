"""Index versions: what the quality gate measured, old and new results side by side, and which one is live."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from flask import Response, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.product_list import ProductList
from shared.contracts.base import Contract
from shared.contracts.indexes import (
    ChooseIndex,
    IndexOut,
    PromoteRequest,
    PruneRequest,
    ReprocessRequest,
    RollbackRequest,
)
from shared.errors import NotFound
from web.api.accepting import accepting_work
from web.api.catalogues import checked
from web.http.bodies import form_fields
from web.http.errors import parsed
from web.i18n import reader
from web.manage import names
from web.manage.frame import blueprint, page_of, to_job
from web.services import services

Wanted = TypeVar("Wanted", bound=Contract)

_SAMPLE_PX = 320
#: Where the image store has the photos that the gate asked with.
_KINDS = {"golden": "golden", "shopper": "queries", "catalogue": "images"}
#: Jobs that fill, move or drop index versions.
_MOVERS = ("reprocess", "rebuild", "promote", "rollback", "prune")


@blueprint.get("/manage/catalogues/<catalogue>/indexes")
def indexes(catalogue: str) -> Response:
    """All versions, and what can be done with them."""
    parts = services()
    versions = parts.indexes.list_versions(catalogue)
    busy = [j for j in parts.jobs.list_unfinished(catalogue) if j.kind in _MOVERS]
    return page_of(
        "indexes.html",
        catalogue=catalogue,
        versions=[each for each in versions if each.state != "pruned"],
        pruned=[each.number for each in versions if each.state == "pruned"],
        busy=busy,
        offered=_offered(),
    )


def _offered() -> dict[str, list[str]]:
    """Names of the registry's models by what they do; none where the web has no copy of it."""
    path = services().settings.models_folder / "registry.json"
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {
            kind: sorted(each["name"] for each in models if each["kind"] == kind)
            for kind in ("detector", "embedder")
        }
    except (OSError, ValueError, LookupError, TypeError):
        return {"detector": [], "embedder": []}


@blueprint.get("/manage/catalogues/<catalogue>/indexes/<int:number>")
def version(catalogue: str, number: int) -> Response:
    """One version: its gate's figures, and queries with what the old and the new version found."""
    shown = _version(catalogue, number)
    gate = (shown.report or {}).get("gate") or {}
    samples: list[dict[str, Any]] = gate.get("samples", [])
    wanted = {p for each in samples for p, _ in [*each["before"], *each["after"]]}
    wanted |= {each["product_id"] for each in samples if each["product_id"]}
    return page_of(
        "version.html",
        catalogue=catalogue,
        shown=shown,
        gate=gate,
        samples=samples,
        check_name=names.of_check,
        known=ProductList(services().database).read_titles(catalogue, wanted, reader().titles),
    )


def _version(catalogue: str, number: int) -> IndexOut:
    for each in services().indexes.list_versions(checked("catalogue", catalogue)):
        if each.number == number:
            return each
    raise NotFound(f"There is no index {number} in this catalogue: the list of its versions says which are.")


@blueprint.get("/manage/catalogues/<catalogue>/indexes/<int:number>/samples/<int:sample>")
def sample_photo(catalogue: str, number: int, sample: int) -> Response:
    """The photo of a query that the gate recorded; shoppers' photos are gone when their time is over."""
    samples = services().indexes.gate(checked("catalogue", catalogue), number).get("samples", [])
    if sample >= len(samples):
        raise NotFound("The gate recorded no such query.")
    parts, found = services(), samples[sample]
    data = parts.store.get(found["key"], _KINDS[found["source"]])
    made = parts.pictures.rendition(data, _SAMPLE_PX, "WEBP")
    answer = Response(made, mimetype="image/webp")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


@blueprint.post("/manage/catalogues/<catalogue>/indexes/<action>")
@accepting_work
def move(catalogue: str, action: str) -> AnyResponse:
    """Re-process, promote, roll back, prune or rebuild; then look at the job."""
    ledger, name = services().indexes, checked("catalogue", catalogue)
    if action == "reprocess":
        return to_job(ledger.reprocess(name, _wanted(ReprocessRequest)))
    if action == "promote":
        return to_job(ledger.promote(name, _wanted(PromoteRequest)))
    if action == "rollback":
        return to_job(ledger.rollback(name, _wanted(RollbackRequest)))
    if action == "prune":
        return to_job(ledger.prune(name, _wanted(PruneRequest)))
    if action == "rebuild":
        return to_job(ledger.rebuild(name, _wanted(ChooseIndex).index))
    raise NotFound(f"Use the buttons of {url_for('manage.indexes', catalogue=name)}.")


def _wanted(model: type[Wanted]) -> Wanted:
    return parsed(model, form_fields())
