"""Index versions: the quality gate's figures, old and new results side by side, and actions."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from flask import Response, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts.base import Contract
from shared.contracts.indexes import (
    ChooseIndex,
    IndexOut,
    PromoteRequest,
    PruneRequest,
    ReprocessRequest,
    RollbackRequest,
)
from shared.contracts.stored import as_object, look_up
from shared.errors import NotFound
from web.api.catalogues import check_name
from web.http.bodies import parse_model, read_form
from web.http.security import creates_work
from web.i18n import reader
from web.manage import names
from web.manage.frame import blueprint, redirect_to_job, render_page
from web.services import services

Model = TypeVar("Model", bound=Contract)

_SAMPLE_PX = 320
#: Image store folders of the quality gate's query photos, by their source.
_FOLDERS = {"golden": "golden", "shopper": "queries", "catalogue": "images"}
#: Kinds of jobs that fill, promote or drop index versions.
_INDEX_JOBS = ("reprocess", "rebuild", "promote", "rollback", "prune")


@blueprint.get("/manage/catalogues/<catalogue>/indexes")
def show_indexes(catalogue: str) -> Response:
    """Show all index versions with their actions."""
    parts = services()
    versions = parts.indexes.list_versions(catalogue)
    open_jobs = [j for j in parts.jobs.list_unfinished(catalogue) if j.kind in _INDEX_JOBS]
    return render_page(
        "indexes.html",
        catalogue=catalogue,
        versions=[each for each in versions if each.state != "pruned"],
        pruned=[each.number for each in versions if each.state == "pruned"],
        open_jobs=open_jobs,
        models=_list_models(),
    )


def _list_models() -> dict[str, list[str]]:
    """List the names of the registry's models by kind; empty if the web has no registry."""
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
def show_index(catalogue: str, number: int) -> Response:
    """Show an index version with its gate figures and the old and new results of sample queries."""
    details = _find_version(catalogue, number)
    gate = as_object(look_up(details.report, "gate"))
    samples: list[dict[str, Any]] = gate.get("samples", [])
    product_ids = {p for each in samples for p, _ in [*each["before"], *each["after"]]}
    product_ids |= {each["product_id"] for each in samples if each["product_id"]}
    return render_page(
        "version.html",
        catalogue=catalogue,
        details=details,
        gate=gate,
        samples=samples,
        check_name=names.translate_check,
        products=services().product_list.read_titles(catalogue, product_ids, reader().titles),
    )


def _find_version(catalogue: str, number: int) -> IndexOut:
    for each in services().indexes.list_versions(check_name("catalogue", catalogue)):
        if each.number == number:
            return each
    raise NotFound(f"This catalogue has no index {number}. Choose one from the list of its versions.")


@blueprint.get("/manage/catalogues/<catalogue>/indexes/<int:number>/samples/<int:sample>")
def get_sample_photo(catalogue: str, number: int, sample: int) -> Response:
    """Serve the photo of a sample query; photos of shoppers expire."""
    samples = services().indexes.gate(check_name("catalogue", catalogue), number).get("samples", [])
    if sample >= len(samples):
        raise NotFound("The quality gate has no such query.")
    parts, query = services(), samples[sample]
    data = parts.store.get(query["key"], _FOLDERS[query["source"]])
    rendition = parts.pictures.rendition(data, _SAMPLE_PX, "WEBP")
    answer = Response(rendition, mimetype="image/webp")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


@blueprint.post("/manage/catalogues/<catalogue>/indexes/<action>")
@creates_work
def run_index_action(catalogue: str, action: str) -> AnyResponse:
    """Re-process, promote, roll back, prune or rebuild; redirect to the job."""
    repository, name = services().indexes, check_name("catalogue", catalogue)
    if action == "reprocess":
        return redirect_to_job(repository.reprocess(name, _read_form(ReprocessRequest)))
    if action == "promote":
        return redirect_to_job(repository.promote(name, _read_form(PromoteRequest)))
    if action == "rollback":
        return redirect_to_job(repository.rollback(name, _read_form(RollbackRequest)))
    if action == "prune":
        return redirect_to_job(repository.prune(name, _read_form(PruneRequest)))
    if action == "rebuild":
        return redirect_to_job(repository.rebuild(name, _read_form(ChooseIndex).index))
    raise NotFound(f"Use the buttons of {url_for('manage.show_indexes', catalogue=name)}.")


def _read_form(model: type[Model]) -> Model:
    return parse_model(model, read_form())
