"""The pages on a port of their own, with a worker whose answers the test decides: no model, no index."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import select
from werkzeug.serving import make_server
from werkzeug.wsgi import LimitedStream

from shared.contracts import Box, FoundObject, Hit, SearchResult, WholeImage
from shared.database import Database
from shared.database.tables import Catalogue, Image, Product
from shared.filters import FilterFields, parse, passes
from shared.searches.cursors import Cursor, read_cursor
from shared.searches.queue import Claim
from tests import builders
from tests.web_builders import open_shop

_LOOK_S = 0.02


@dataclass
class Thing:
    """A product of the showroom."""

    product_id: str
    titles: dict[str, str]
    category: str
    price: str
    pictures: list[bytes] = field(default_factory=list)
    url: str | None = None
    categories: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def image_id(self, position: int = 0) -> str:
        return f"{self.product_id.encode().hex():0>30}{position:02x}"[-32:]


def things(count: int = 20) -> list[Thing]:
    """Chairs and lamps, each unlike the others."""
    return [
        Thing(
            f"thing-{n}",
            {"en": f"Thing {n}", "de": f"Ding {n}", "ar": f"شيء {n}"},
            "Lamps" if n % 3 else "Chairs",
            f"{n + 1}.50",
            [builders.jpeg(seed=n * 10 + k, width=200, height=160) for k in range(1 + n % 2)],
            url="https://shop.example/thing" if n % 2 else None,
            attributes={"material": "oak", "size_cm": [40, 50, 60]},
            tags=["sale"] if n % 2 else [],
            categories={"en": "Lamps", "de": "Lampen"} if n % 3 else {"en": "Chairs", "de": "Stühle"},
        )
        for n in range(count)
    ]


class Showroom:
    """The web application, served in this process.

    Attributes:
        boxes: of the objects that every photo is said to show.
        losing: how many answers to uploads are lost on their way, from now on.
        page: most hits of a group before its next page.
        calibrated: whether it is known how probable hits of photos are: the first 0.9, and ever less.
        fall: how far down the score of a hit is half of the first one's.
        holding: while it is set, searches wait.
    """

    def __init__(self, folder: Path, products: Sequence[Thing], **groups: Any) -> None:
        self.shop = open_shop(folder, **groups)
        self.products = list(products)
        self.boxes: list[Box] = [(0.1, 0.3, 0.45, 0.8), (0.55, 0.2, 0.9, 0.6)]
        self.page = 16
        self.calibrated = False
        self.fall = 100.0
        self.holding = threading.Event()
        self._ended = threading.Event()
        self.losing = 0
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self._answer_on, daemon=True),
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Showroom:
        self._fill()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        # As under gunicorn, a body ends where it said: who reads on does not wait for the next request.
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = LimitedStream(environ["wsgi.input"], length)
        answer = self.shop.app(environ, start_response)
        if self.losing and environ["PATH_INFO"] == "/v1/searches":
            self.losing -= 1
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer

    def _fill(self) -> None:
        database = Database(self.shop.settings.database_url)
        with database.write() as session:
            place = session.scalar(select(Catalogue.id))
            for thing in self.products:
                row = Product(
                    catalogue_id=place,
                    product_id=thing.product_id,
                    titles=thing.titles,
                    category=thing.category,
                    categories=thing.categories,
                    price=Decimal(thing.price),
                    currency="EUR",
                    url=thing.url,
                    tags=thing.tags,
                    attributes=thing.attributes,
                    digest="",
                    updated_at=0.0,
                )
                session.add(row)
                session.flush()
                for n, data in enumerate(thing.pictures):
                    key = self.shop.parts.store.put(data)
                    session.add(
                        Image(
                            id=thing.image_id(n),
                            product=row.id,
                            position=n,
                            sha256=key,
                            width=480,
                            height=480,
                        )
                    )
        database.close()

    def _answer_on(self) -> None:
        desk = self.shop.desk()
        while not self._ended.wait(_LOOK_S):
            if not self.holding.is_set():
                claims = desk.claim(100)
                desk.answer([(claim, self.answer(claim)) for claim in claims])

    def answer(self, claim: Claim) -> SearchResult:
        """What the showroom's worker says: what passes the filter, each group from another place on."""
        options = claim.options
        boxes = [options.box] if options.box else self.boxes if claim.photos and options.detect else []
        starts = (*range(0, 3 * len(boxes), 3), 0)
        groups = [self._hits(claim, start) for start in starts]
        nexts = [
            Cursor(claim.id, n, self.page).text() if len(hits) > self.page else None
            for n, hits in enumerate(groups)
        ]
        if options.after:
            first = read_cursor(options.after)
            boxes, groups, nexts = [], [groups[first.group][first.offset :]], [None]
        else:
            groups = [hits[: self.page] for hits in groups]
        return SearchResult(
            query_id=claim.id,
            catalogue=claim.catalogue,
            calibration="catalogue" if self._probable(claim) else None,
            objects=[
                FoundObject(box=box, label="product", confidence=0.9, hits=hits, next=more)
                for box, hits, more in zip(boxes, groups, nexts, strict=False)
            ],
            whole=WholeImage(hits=groups[-1], next=nexts[-1]),
            timings_ms={"detect": 61.0, "embed": 30.0, "search": 9.0},
            models={"detector": "showroom"},
        )

    def _probable(self, claim: Claim) -> bool:
        return self.calibrated and bool(claim.photos) and not (claim.options.like or claim.options.unlike)

    def _hits(self, claim: Claim, start: int) -> list[Hit]:
        wanted = claim.options
        rule = None if wanted.filter is None else parse(wanted.filter)
        found = [
            thing
            for thing in self.products[start:] + self.products[:start]
            if thing.product_id not in (claim.product_id, *wanted.like, *wanted.unlike)
            and wanted.category in (None, thing.category)
            and (rule is None or passes(rule, _Row(thing.product_id, thing.category, float(thing.price))))
        ]
        # Examples bring their own kind to the front, or send it to the end.
        kinds = {thing.product_id: thing.category for thing in self.products}
        liked, unliked = ({kinds[each] for each in named} for named in (wanted.like, wanted.unlike))
        found.sort(key=lambda thing: (thing.category in unliked) - (thing.category in liked))
        hits = [self._hit(thing, wanted.locale, n) for n, thing in enumerate(found[: wanted.top_k])]
        if not self._probable(claim):
            return hits
        sure = [hit.model_copy(update={"probability": 0.9 / (n + 1)}) for n, hit in enumerate(hits)]
        least = wanted.min_probability or 0.0
        return [hit for hit in sure if (hit.probability or 0.0) >= least]

    def _hit(self, thing: Thing, locale: str, rank: int) -> Hit:
        return Hit(
            product_id=thing.product_id,
            score=0.93 / (1 + rank / self.fall),
            image_id=thing.image_id(),
            image_url=f"/v1/images/{thing.image_id()}",
            title=thing.titles.get(locale.split("_")[0], thing.titles["en"]),
            category=thing.category,
            price=Decimal(thing.price),
            currency="EUR",
            url=thing.url,
            box=(0, 0, 1, 1),
        )


@dataclass(frozen=True)
class _Row:
    """A product as filters see it."""

    product_id: str
    category: str
    price: float
    facts: FilterFields = field(default_factory=FilterFields)
