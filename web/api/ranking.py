"""Calibration of scores, and boosts of a catalogue."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.contracts import JobOut
from shared.contracts.indexes import ChooseIndex
from shared.contracts.ranking import Boosts, CalibrationOut
from web.api.catalogues import answer_with_job, check_name
from web.api.openapi import operation
from web.http.bodies import parse_model, read_json, read_optional_json
from web.services import services

blueprint = Blueprint("ranking", __name__)


@blueprint.post("/v1/catalogues/<catalogue>/calibrate")
@operation(
    "Calibrate scores: learn the probability that a hit with a score is the right product",
    "Ranking",
    {202: JobOut},
    bodies={"application/json": ChooseIndex},
    errors=(409,),
)
def calibrate_scores(catalogue: str) -> Response:
    body = parse_model(ChooseIndex, read_optional_json())
    return answer_with_job(services().ranking.calibrate(check_name("catalogue", catalogue), body.index))


@blueprint.get("/v1/catalogues/<catalogue>/calibrations")
@operation(
    "List the calibrations of all index versions, newest first",
    "Ranking",
    {200: [CalibrationOut]},
)
def list_calibrations(catalogue: str) -> Response:
    found = services().ranking.calibrations(check_name("catalogue", catalogue))
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.get("/v1/catalogues/<catalogue>/boosts")
@operation("Get the boosts of a catalogue", "Ranking", {200: Boosts})
def get_boosts(catalogue: str) -> Response:
    return jsonify(services().ranking.boosts(check_name("catalogue", catalogue)).model_dump(mode="json"))


@blueprint.put("/v1/catalogues/<catalogue>/boosts")
@operation(
    "Replace the boosts of a catalogue",
    "Ranking",
    {200: Boosts},
    bodies={"application/json": Boosts},
)
def set_boosts(catalogue: str) -> Response:
    body = parse_model(Boosts, read_json())
    boosts = services().ranking.set_boosts(check_name("catalogue", catalogue), body.boosts)
    return jsonify(boosts.model_dump(mode="json"))
