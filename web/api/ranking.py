"""What scores mean, and the order of hits: calibration, and boosts of a catalogue."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.catalogue.ranking import RankingRepository
from shared.contracts import JobOut
from shared.contracts.indexes import ChooseIndex
from shared.contracts.ranking import Boosts, CalibrationOut
from web.api.catalogues import checked, job_answer
from web.api.openapi import operation
from web.http.bodies import json_body, optional_json
from web.http.errors import parsed
from web.services import services

blueprint = Blueprint("ranking", __name__)


@blueprint.post("/v1/catalogues/<catalogue>/calibrate")
@operation(
    "Find out how probable it is, by a hit's score, that it is the right product",
    "Ranking",
    {202: JobOut},
    bodies={"application/json": ChooseIndex},
    errors=(400, 404, 409, 422, 503),
)
def calibrate(catalogue: str) -> Response:
    wanted = parsed(ChooseIndex, optional_json())
    return job_answer(_ledger().calibrate(checked("catalogue", catalogue), wanted.index))


@blueprint.get("/v1/catalogues/<catalogue>/calibrations")
@operation(
    "What was found out about the scores of each index version, the newest first",
    "Ranking",
    {200: [CalibrationOut]},
    errors=(404,),
)
def calibrations(catalogue: str) -> Response:
    found = _ledger().calibrations(checked("catalogue", catalogue))
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.get("/v1/catalogues/<catalogue>/boosts")
@operation("What a catalogue shows first among what is near", "Ranking", {200: Boosts}, errors=(404,))
def boosts(catalogue: str) -> Response:
    return jsonify(_ledger().boosts(checked("catalogue", catalogue)).model_dump(mode="json"))


@blueprint.put("/v1/catalogues/<catalogue>/boosts")
@operation(
    "Set what a catalogue shows first among what is near, in place of what it had",
    "Ranking",
    {200: Boosts},
    bodies={"application/json": Boosts},
    errors=(400, 404, 422),
)
def set_boosts(catalogue: str) -> Response:
    wanted = parsed(Boosts, json_body())
    made = _ledger().set_boosts(checked("catalogue", catalogue), wanted.boosts)
    return jsonify(made.model_dump(mode="json"))


def _ledger() -> RankingRepository:
    return RankingRepository(services().database)
