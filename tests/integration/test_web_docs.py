"""OpenAPI and the documentation page: complete, valid, and readable without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from shared.contracts import ProductIn, SearchOptions, SearchRequest
from shared.contracts.keys import KeyIn
from shared.contracts.status import SystemStatus
from tests.web_builders import Shop, open_shop
from web.api.openapi_examples import EXAMPLES

#: Pages and files for people; everything else is described.
FOR_PEOPLE = {
    "/",
    "/s",
    "/s/<search_id>",
    "/s/<search_id>/part",
    "/s/<task_id>/delete",
    "/s/<task_id>/sharing",
    "/p/<catalogue>/<product:product_id>",
    "/manifest.webmanifest",
    "/sw.js",
    "/offline",
    "/brand/<version>/logo",
    "/brand/<version>/brand.css",
    "/docs",
    "/openapi.json",
    "/widget/<version>/vitrine.js",
    "/widget/texts/<language>.json",
    "/widget/vitrine.js",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("docs"))


@pytest.mark.slow
def test_the_document_is_valid_openapi_3_1(shop: Shop) -> None:
    document = shop.client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_in_it(shop: Shop) -> None:
    paths = shop.client.get("/openapi.json").json["paths"]
    routes = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in shop.app.url_map.iter_rules()
        if rule.rule not in FOR_PEOPLE and not rule.endpoint.startswith(("static", "manage", "sign_in"))
    }
    assert set(paths) == routes
    assert len(routes) > 15


def test_calls_tell_their_errors_and_who_may_make_them(shop: Shop) -> None:
    document = shop.client.get("/openapi.json").json
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            is_open = call.get("security") == []
            assert is_open != ({"401", "403", "429"} <= set(call["responses"])), (method, path)
            assert is_open or "Needs a key with the role" in call["description"]
            assert "requestBody" not in call or {"400", "411", "413", "415", "422"} <= set(call["responses"])
            for parameter in call["parameters"]:
                assert parameter["description"]
                assert set(parameter["schema"]) - {"type"} or parameter["in"] != "path", parameter
    assert document["paths"]["/healthz"]["get"]["security"] == []
    status = document["paths"]["/v1/status"]["get"]["responses"]["200"]["content"]["application/json"]
    assert status["schema"]["$ref"].endswith("/SystemStatus")
    SystemStatus.model_validate_json(shop.client.get("/v1/status").text)


def test_examples_are_valid(shop: Shop) -> None:
    assert SearchRequest.model_validate(EXAMPLES["SearchRequest"]).top_k == 12
    assert ProductIn.model_validate(EXAMPLES["ProductIn"]).currency == "EUR"
    assert KeyIn.model_validate(EXAMPLES["KeyIn"]).name == "storefront"
    assert len(EXAMPLES) == 3
    body = shop.client.get("/openapi.json").json["paths"]["/v1/searches"]["post"]["requestBody"]["content"]
    assert body["application/json"]["example"] == EXAMPLES["SearchRequest"]


def test_its_schemas_are_the_models(shop: Shop) -> None:
    schemas = shop.client.get("/openapi.json").json["components"]["schemas"]
    assert set(schemas["SearchUpload"]["properties"]) == {*SearchOptions.model_fields, "image"}
    assert schemas["SearchRequest"]["properties"]["top_k"]["maximum"] == 1000


def test_a_key_is_announced(tmp_path: Path) -> None:
    document = open_shop(tmp_path, web={"api_key": "a-long-secret-key"}).client.get("/openapi.json").json
    assert document["security"] == [{"key": []}]
    assert "a-long-secret-key" not in str(document)


def test_the_page_shows_every_call_and_loads_nothing_from_elsewhere(shop: Shop) -> None:
    page = shop.client.get("/docs").text
    for path in shop.client.get("/openapi.json").json["paths"]:
        assert path in page
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert loaded
    assert all(address.startswith(("/", "#")) for address in loaded)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {address[1:] for address in loaded if address.startswith("#")} <= anchors
