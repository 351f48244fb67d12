"""The mapping of columns over HTTP, by CLI and on the page; ids with slashes in URLs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from pydantic import SecretStr

from cli.main import app
from shared.contracts import ProductIn
from tests import web_builders
from tests.builders import jpeg
from tests.packing import archive, pictures
from tests.shop import Shop
from web.app import create_app

TABLE = "Nr;Text;Foto1;Saison\n7;Stuhl;p0.jpg;Winter\n"
MAPPING = {"product_id": ["Nr"], "title": ["Text"], "images": ["Foto1"], "ignore": ["Saison"]}
PAIRS = ("--map", "product_id=Nr", "--map", "title=Text", "--map", "images=Foto1", "--map", "ignore=Saison")


def site_of(shop: Shop) -> web_builders.Shop:
    """Return the web application over the data of a shop whose worker runs in this process."""
    redis = shop.settings.redis.model_copy(update={"url": SecretStr(web_builders.CLOSED_BROKER)})
    settings = shop.settings.model_copy(update={"redis": redis})
    publisher = web_builders.RecordingPublisher()
    return web_builders.Shop(create_app(settings, publisher=publisher), settings, publisher)


@pytest.fixture
def client(shop: Shop) -> FlaskClient:
    return site_of(shop).client


def upload(client: FlaskClient, path: str, **options: str) -> str:
    """Import the table over HTTP; return the job."""
    files: dict[str, bytes | str] = {**pictures(1), "products.csv": TABLE}
    answer = client.post(
        path, data=archive(files), query_string=options, headers={"Content-Type": "application/zip"}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def test_the_mapping_over_http(shop: Shop, client: FlaskClient) -> None:
    path = "/v1/catalogues/shop/mapping"
    assert client.get(path).json == {"mapping": {}}
    unread = shop.done(upload(client, "/v1/catalogues/shop/imports"))
    assert unread.error is not None
    assert "no product_id" in unread.error.message, "the control: nothing names the columns"
    for wrong, sentence in (({"colour": ["Text"]}, "is no field"), ({"title": [7]}, "string")):
        answer = client.put(path, json={"mapping": wrong})
        assert (answer.status_code, sentence in answer.text) == (422, True)
    assert client.put(path, json={"mapping": {"title": "Text", **MAPPING}}).json == {"mapping": MAPPING}
    job = shop.done(upload(client, "/v1/catalogues/shop/imports"))
    assert (job.state, job.counts.new) == ("succeeded", 1)
    product = client.get("/v1/catalogues/shop/products/7").json
    assert (product["titles"], product["attributes"]) == ({"en": "Stuhl"}, {})
    other = json.dumps({**MAPPING, "attributes.season": ["Saison"], "ignore": []})
    shop.done(upload(client, "/v1/catalogues/shop/imports", mapping=other))
    assert client.get("/v1/catalogues/shop/products/7").json["attributes"] == {"season": "Winter"}
    assert client.get(path).json["mapping"]["attributes.season"] == ["Saison"], "kept by the import"
    missing = shop.done(upload(client, "/v1/catalogues/shop/imports", mapping='{"title": ["Name"]}'))
    assert missing.error is not None
    assert "there is no column 'Name' for title; the columns are Nr, Text" in missing.error.message


@contextmanager
def working(shop: Shop) -> Iterator[None]:
    """Do the jobs of a shop in another thread."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(0.02):
            shop.worker.catalogue.work_one()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def vitrine(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], standalone_mode=False)


def test_the_mapping_by_cli(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "products.csv").write_text(TABLE)
    (folder / "p0.jpg").write_bytes(jpeg(seed=1, width=64, height=64))
    with web_builders.serving(site_of(shop)) as address, working(shop):
        monkeypatch.setenv("VITRINE_URL", address)
        wrong = vitrine("import", str(folder), "--catalogue", "shop", "--map", "title")
        assert "write FIELD=COLUMN" in str(wrong.exception)
        wrong = vitrine("import", str(folder), "--catalogue", "shop", "--map", "colour=Text")
        assert "is no field of a product" in str(wrong.exception)
        dry = vitrine("import", str(folder), "--catalogue", "shop", *PAIRS, "--dry-run")
        shown = dry.stdout + dry.stderr
        assert "Nr -> product_id" in shown, dry.exception
        assert "Saison -> ignore" in shown
        assert shop.catalogue.import_mapping("shop") == {}, "a dry run keeps nothing"
        assert vitrine("import", str(folder), "--catalogue", "shop", *PAIRS).return_value == 0
        assert shop.catalogue.import_mapping("shop") == MAPPING
        again = vitrine("import", str(folder), "--catalogue", "shop", "--json")
        assert json.loads(again.stdout)["counts"]["unchanged"] == 1, "the kept mapping is used"


def test_the_mapping_on_the_page_of_a_dry_run(shop: Shop, client: FlaskClient) -> None:
    mapping = json.dumps({k: v for k, v in MAPPING.items() if k != "ignore"})
    job = upload(client, "/v1/catalogues/fresh/imports", dry_run="true", mapping=mapping)
    shop.done(job)
    page = client.get(f"/manage/jobs/{job}").text
    assert "Recognised as: CSV, UTF-8" in page
    assert 'name="column" value="Saison"' in page
    assert "data:image/jpeg;base64," in page, "the preview shows the pictures"
    answer = client.post(
        f"/manage/jobs/{job}/map",
        data={"column": ["Nr", "Text", "Foto1", "Saison"], "field": ["product_id", "title_de", "images", ""]},
    )
    assert answer.status_code == 303, answer.text
    checked = answer.location.rpartition("/")[2]
    found = shop.done(checked).report
    assert found is not None
    (product,) = found["dry_run"]["products"]
    assert (product["titles"], product["attributes"]) == ({"de": "Stuhl"}, {"Saison": "Winter"})
    assert [each.name for each in shop.catalogue.list_catalogues()] == ["shop"]
    german = client.get(f"/manage/jobs/{checked}", headers={"Accept-Language": "de"}).text
    assert "Mit diesen Feldern erneut prüfen" in german
    refused = client.post(f"/manage/jobs/{job}/map", data={"column": ["Nr"], "field": ["colour"]})
    assert (refused.status_code, "is no field" in refused.text) == (422, True)


@pytest.mark.parametrize(
    "product_id", ["x/similar", "a/b", "//", "100%", "a?b=c#d", "a%2Fb", "x/delete", "椅子 1"]
)
def test_ids_of_any_characters_are_safe_in_urls(shop: Shop, client: FlaskClient, product_id: str) -> None:
    shop.put("x", ProductIn(titles={"en": "Another"}), [jpeg(seed=1, width=64, height=64)])
    shop.put(product_id, ProductIn(titles={"en": "This one"}), [jpeg(seed=2, width=64, height=64)])
    path = f"/v1/catalogues/shop/products/{quote(product_id, safe='')}"
    assert client.get(path).json["product_id"] == product_id
    assert client.get("/v1/catalogues/shop/products/x").json["titles"] == {"en": "Another"}
    for similar in (f"{path}/similar", "/v1/catalogues/shop/products/x/similar"):
        answer = client.get(similar)
        assert (answer.status_code, "state" in answer.json) == (202, True), answer.text
    page = client.get(f"/p/shop/{quote(product_id, safe='')}")
    assert (page.status_code, "This one" in page.text) == (200, True)
    manage = f"/manage/catalogues/shop/products/{quote(product_id, safe='')}"
    assert f'action="{manage}/delete"' in client.get(manage).text
    links = client.get("/manage/catalogues/shop/products").text
    assert f'href="{manage}"' in links
    answer = client.post(f"{manage}/delete")
    assert answer.status_code == 303, answer.text
    shop.work()
    assert client.get(path).status_code == 404
    assert client.get("/v1/catalogues/shop/products/x").status_code == 200
