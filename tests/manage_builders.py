"""What the tests of the owner's pages share: a browser's headers, forms as it sends them, jobs done."""

from __future__ import annotations

import time

from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.database.tables import Catalogue, IndexVersionRow
from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from shared.jobs.work import Item, Outcome, Problem
from tests.web_builders import Shop, form_of

PAGE = {"Accept": "text/html", "Origin": "http://localhost"}


def see(shop: Shop, path: str, status: int = 200) -> str:
    answer = shop.client.get(path, headers=PAGE)
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
    assert "style=" not in answer.text
    return answer.text


def send(shop: Shop, path: str, **fields: object) -> TestResponse:
    files = {name: value for name, value in fields.items() if isinstance(value, tuple)}
    if not files:
        return shop.client.post(path, data=fields, headers=PAGE, content_type="multipart/form-data")
    texts = {name: value for name, value in fields.items() if name not in files}
    return shop.client.post(path, headers=PAGE, **form_of(files, texts))


def desk_of(shop: Shop) -> JobQueue:
    return JobQueue(shop.parts.database, "tester", 60.0, 4, 4)


def dropped(name: str = "winter.zip", data: bytes = b"PK...") -> tuple[str, bytes]:
    """A file, as ``send`` takes it."""
    return name, data


def job_at(answer: TestResponse) -> str:
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"]).rpartition("/")[2]


def done(shop: Shop, job: str, count: int = 3, bad: int = 1) -> None:
    """Do the job as a worker would; the first ``bad`` products fail."""
    desk, database = desk_of(shop), shop.parts.database
    claim = desk.claim()
    assert claim is not None
    assert claim.job_id == job
    items = [Item(n, n, "chair-1" if n == 1 else f"p{n}", {}, 0) for n in range(1, count + 1)]
    write_plan(desk, database, claim, items, 64)
    desk.finish(claim)
    claim = desk.claim()
    assert claim is not None
    outcomes = [
        Outcome(
            i, "failed", problems=[Problem(i.row, i.product_id, "a<b>.jpg", "missing_image", "It is gone.")]
        )
        if i.number <= bad
        else Outcome(i, "new")
        for i in desk.items(claim)
    ]
    with database.write() as session:
        desk.record(session, claim, outcomes)
    desk.finish(claim)


def add_version(shop: Shop, number: int, state: str, gate: dict[str, object] | None = None) -> None:
    with shop.parts.database.write() as session:
        session.add(
            IndexVersionRow(
                catalogue_id=session.scalar(select(Catalogue.id)),
                number=number,
                collection=f"c{number}",
                alias="a",
                detector="detector",
                embedder=f"embedder-{number}",
                dim=8,
                state=state,
                report=None if gate is None else {"gate": gate},
                created_at=time.time(),
            )
        )
