"""A small shop for the tests of the web: real SQLite, real image store, pictures drawn on the spot."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image as Picture
from sqlalchemy import select
from werkzeug.serving import make_server

from shared.broker.publisher import TaskPublisher
from shared.broker.task_names import TaskName
from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.database import Database
from shared.database.tables import Catalogue, Image, Product
from shared.process.log import configure_logging
from shared.searches.queue import Claim, SearchQueue
from shared.settings import Settings
from tests.databases import open_migrated
from web.app import create_app
from web.services import EXTENSION, Services

CLOSED_BROKER = "redis://127.0.0.1:1/0"  # a port that nothing listens on
IMAGE_ID = "0" * 32


class RecordingPublisher(TaskPublisher):
    """Records what was published.

    Args:
        works: whether the broker takes it.
    """

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.published: list[tuple[TaskName, str]] = []

    def publish(self, task: TaskName, row_id: str, labels: Mapping[str, str] | None = None) -> bool:
        self.published.append((task, row_id))
        return self.works


@dataclass
class Shop:
    """An application with the catalogue ``demo``, which has the one product ``chair-1``."""

    app: Flask
    settings: Settings
    publisher: RecordingPublisher = field(default_factory=RecordingPublisher)

    @property
    def parts(self) -> Services:
        parts: Services = self.app.extensions[EXTENSION]
        return parts

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def desk(self) -> SearchQueue:
        return SearchQueue(self.parts.database, "tester", 30.0, 4)

    def answer_all(self) -> list[str]:
        """Answer every waiting search with the one product."""
        claims = self.desk().claim(100)
        self.desk().answer([(claim, result_of(claim)) for claim in claims])
        return [claim.id for claim in claims]


def open_shop(
    folder: Path, redis_url: str = CLOSED_BROKER, publisher: RecordingPublisher | None = None, **groups: Any
) -> Shop:
    """Make the shop in ``folder``; ``groups`` are groups of the settings."""
    settings = Settings(data_dir=folder, redis={"url": redis_url}, **groups)
    publisher = publisher or RecordingPublisher()
    database = open_migrated(settings.database_url)
    app = create_app(settings, publisher=publisher)
    shop = Shop(app, settings, publisher)
    shop.parts.catalogue.create("demo")
    add_product(shop, database)
    database.close()
    return shop


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    """Let the application answer over HTTP, from threads of this process; yield its address."""
    # 0.02: how often a server reads whether it is to end; by default every half second.
    # The server's log would go where a command prints: both are in this process.
    configure_logging("ERROR", "text", "web")
    server = make_server("127.0.0.1", 0, shop.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def add_product(shop: Shop, database: Database) -> None:
    key = shop.parts.store.put(picture(color=(120, 70, 30)))
    with database.write() as session:
        if session.get(Image, IMAGE_ID) is not None:
            return
        place = session.scalars(select(Catalogue)).one()
        place.changes += 1
        product = Product(
            catalogue_id=place.id,
            product_id="chair-1",
            titles={"en": "Oak chair", "de": "Eichenstuhl"},
            category="Chairs",
            categories={},
            price=None,
            currency=None,
            url=None,
            tags=[],
            attributes={},
            digest="",
            updated_at=time.time(),
        )
        session.add(product)
        session.flush()
        session.add(Image(id=IMAGE_ID, product=product.id, position=0, sha256=key, width=64, height=48))


def picture(
    size: tuple[int, int] = (64, 48),
    color: tuple[int, int, int] = (200, 40, 40),
    format: str = "JPEG",
    **options: Any,
) -> bytes:
    file = io.BytesIO()
    Picture.new("RGB", size, color).save(file, format, **options)
    return file.getvalue()


def upload(data: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """Arguments of ``client.post`` that send a photo with form fields."""
    content = data if data is not None else picture()
    return form_of({"image": ("photo.jpg", content)}, fields)


def form_of(files: Mapping[str, tuple[str, bytes]], fields: Mapping[str, object]) -> dict[str, Any]:
    """Arguments of ``client.post`` that send files, each with its name, and fields.

    As browsers write them: Werkzeug's own test client leaves out a line break of an empty file.
    """
    texts = {name: str(value) for name, value in fields.items()}
    form = httpx.Request("POST", "http://shop", files=files, data=texts)
    return {"data": form.read(), "content_type": form.headers["Content-Type"]}


def result_of(claim: Claim, hits: int = 1) -> SearchResult:
    hit = Hit(
        product_id="chair-1",
        score=0.91,
        image_id=IMAGE_ID,
        image_url=f"/v1/images/{IMAGE_ID}",
        title="Oak <chair>",
        category="Chairs",
        price=None,
        currency=None,
        url=None,
        box=(0, 0, 1, 1),
    )
    box = (0.1, 0.1, 0.6, 0.8)
    return SearchResult(
        query_id=claim.id,
        catalogue=claim.catalogue,
        objects=[FoundObject(box=box, label="product", confidence=0.8, hits=[hit] * hits)],
        whole=WholeImage(hits=[hit]),
        timings_ms={"total": 12.0},
        models={"detector": "test"},
    )
