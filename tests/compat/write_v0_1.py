"""Write the fixtures of version 0.1: its rows with every option used, and its messages.

Run once, with the code of that version (commit 2ab9da1), never with today's::

    git worktree add /tmp/v0_1 2ab9da1 && cd /tmp/v0_1
    PYTHONPATH=. python FOLDER/tests/compat/write_v0_1.py FOLDER/tests/compat
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import numpy as np
from shared.celery_config import make_celery
from shared.ledger import Idempotent, now_s
from shared.ledger.feedback import FeedbackLedger
from shared.ledger.golden import GoldenLedger
from shared.ledger.indexes import IndexLedger
from shared.ledger.job_desk import JobDesk
from shared.ledger.job_plan import write_plan
from shared.ledger.jobs import JobLedger
from shared.ledger.ranking import RankingLedger
from shared.ledger.search_desk import Kept, SearchDesk
from shared.ledger.searches import Asked, SearchLedger
from shared.ledger.webhooks import WebhookLedger
from shared.ledger.work import Item, Outcome, Problem
from shared.presence import Presence
from shared.task_names import LANE_OF, TaskName

from shared.catalogue import CatalogueStore
from shared.contracts import ImportRequest, ProductIn, SearchOptions, SearchResult
from shared.contracts.feedback import FeedbackIn
from shared.contracts.indexes import GoldenIn, PruneRequest, ReprocessRequest
from shared.contracts.search import Boost
from shared.database import Database
from shared.database.migrate import migrate
from shared.database.tables import Calibration, Detection, Image, IndexVersion, ModelVersion, Probe, Product
from shared.filters import facts_of

YEARS_S = 50 * 365 * 86_400
#: In which the searches are asked that the version left waiting.
FULL = {
    "catalogue": "shop",
    "top_k": 7,
    "box": (0.1, 0.1, 0.9, 0.9),
    "detect": False,
    "category": "Chairs",
    "filter": 'price < 200 and colour = "red"',
    "min_score": 0.1,
    "boosts": (Boost(filter="price < 100", factor=1.5), Boost(filter="category = 'Chairs'", factor=0.9)),
    "like": ("p1",),
    "unlike": ("p2",),
    "repeat": True,
    "locale": "de",
    "currency": "USD",
}
PRODUCT = {
    "titles": {"en": "Red chair", "de": "Roter Stuhl"},
    "category": "Chairs",
    "categories": {"de": "Stühle"},
    "price": "99.90",
    "currency": "EUR",
    "url": "https://shop.example/p1",
    "tags": ["new", "wood"],
    "attributes": {"material": "oak", "width": 45.5, "nested": {"a": [1, "b", None, True]}},
}
HIT = {
    "product_id": "p1",
    "score": 0.91,
    "probability": 0.8,
    "probability_kind": 0.95,
    "image_id": "i" * 32,
    "image_url": "/v1/images/" + "i" * 32,
    "title": "Roter Stuhl",
    "category": "Chairs",
    "price": "99.90",
    "currency": "EUR",
    "price_original": None,
    "currency_original": None,
    "url": "https://shop.example/p1",
    "box": (0.0, 0.0, 1.0, 1.0),
    "query_box": (0.1, 0.1, 0.9, 0.9),
    "query_image_id": None,
    "explanation": {"ordered_by": 1.2, "boosts": [{"filter": "price < 100", "factor": 1.5}]},
}
CATEGORY = {"value": "Chairs", "confidence": 0.9, "given": False}


def main(out: Path) -> None:
    folder = Path(tempfile.mkdtemp())
    database = Database(f"sqlite:///{folder}/vitrine.sqlite3")
    migrate(database)
    live = catalogue(database)
    searches(database)
    extras(database, live)
    jobs(database)
    database.close()
    connection = sqlite3.connect(folder / "vitrine.sqlite3")
    (out / "v0_1.sql").write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    (out / "v0_1_messages.json").write_text(json.dumps(messages(), indent=1) + "\n", encoding="utf-8")


def catalogue(database: Database) -> int:
    CatalogueStore(database).create("shop", "EUR")
    unit = np.zeros(256, "<f2")
    unit[0] = 1
    with database.write() as session:
        session.add(ModelVersion(id=1, detector="none", embedder="tiny"))
        for number, state in enumerate(("live", "ready", "retired"), 1):
            session.add(
                IndexVersion(
                    id=number,
                    catalogue_id=1,
                    number=number,
                    collection=f"vitrine_1_v{number}",
                    alias="vitrine_1",
                    detector="none",
                    embedder="tiny",
                    detector_name="none",
                    embedder_name="tiny",
                    dim=256,
                    state=state,
                    report={"gate": {"verdict": "passed", "checks": []}},
                    created_at=now_s(),
                )
            )
        session.flush()
        product = ProductIn.model_validate(PRODUCT)
        for n in range(1, 4):
            session.add(
                Product(
                    id=n,
                    catalogue_id=1,
                    product_id=f"p{n}",
                    **product.model_dump(),
                    facts=facts_of(product).as_json(),
                    digest="0" * 64,
                    updated_at=now_s(),
                )
            )
            session.flush()
            session.add(Image(id=f"{n}" * 32, product=n, position=0, sha256=f"{n}" * 64, width=64, height=64))
            session.flush()
            session.add(
                Detection(
                    image_id=f"{n}" * 32,
                    number=0,
                    index_version=1,
                    models=1,
                    x0=0.0,
                    y0=0.0,
                    x1=1.0,
                    y1=1.0,
                    label="object",
                    confidence=1.0,
                    colours=["red"],
                    embedding=unit.tobytes(),
                )
            )
    return 1


def searches(database: Database) -> None:
    ledger, desk = SearchLedger(database), SearchDesk(database, "one", 30.0, 4)

    def accept(options, asked, key=None):
        return ledger.accept("shop", options, asked, ttl_s=YEARS_S, idempotency=key).id

    answered = accept(
        SearchOptions(**FULL),
        Asked(query_key="a" * 64, more_photos=("b" * 64,)),
        Idempotent("key", "digest"),
    )
    (claim,) = desk.claim(10)
    result = {
        "query_id": answered,
        "catalogue": "shop",
        "filter": "price < 200",
        "calibration": "catalogue",
        "rates_date": "2026-11-30",
        "objects": [
            {
                "box": (0.1, 0.1, 0.9, 0.9),
                "label": "chair",
                "confidence": 0.9,
                "hits": [HIT],
                "category": CATEGORY,
                "next": "next",
            }
        ],
        "whole": {"hits": [HIT], "category": CATEGORY, "next": None},
        "timings_ms": {"wait": 1.5, "decode": 2.5},
        "models": {"detector": "none", "embedder": "tiny", "index": "1"},
    }
    rows = np.zeros((3, 256), "<f2")
    rows[:, 0] = 1
    kept = Kept(
        [
            {"kind": "found", "box": [0.1, 0.1, 0.9, 0.9], "label": "chair", "confidence": 0.9},
            {"kind": "drawn", "box": [0.2, 0.2, 0.8, 0.8], "label": "box", "confidence": 1.0},
            {"kind": "whole", "detected": True},
        ],
        rows.tobytes(),
        1,
    )
    desk.answer([(claim, SearchResult.model_validate(result))], {answered: kept})
    failed = accept(SearchOptions(catalogue="shop"), Asked(query_key="c" * 64))
    (claim,) = desk.claim(10)
    desk.fail(claim, "undecodable_image", "it cannot be read")
    cancelled = accept(SearchOptions(catalogue="shop"), Asked(product_id="p1"))
    ledger.cancel(cancelled)
    # What a worker of the next version finds waiting.
    accept(SearchOptions(**FULL), Asked(query_key="a" * 64, more_photos=("b" * 64, "c" * 64)))
    accept(SearchOptions(catalogue="shop"), Asked(product_id="p1"))
    accept(SearchOptions(catalogue="shop", like=("p1",)), Asked())
    accept(
        SearchOptions(catalogue="shop", box=(0.2, 0.2, 0.8, 0.8)), Asked(query_key="a" * 64, earlier=answered)
    )
    accept(SearchOptions(catalogue="shop", min_probability=0.5), Asked(query_key="d" * 64))
    accept(
        SearchOptions(catalogue="shop", after="cursor", top_k=5), Asked(query_key="a" * 64, earlier=answered)
    )
    FeedbackLedger(database)
    del failed


def extras(database: Database, live: int) -> None:
    with database.read() as session:
        from sqlalchemy import select

        from shared.database.tables import Search

        answered = session.scalars(select(Search.id).where(Search.result.is_not(None))).one()
    feedback = FeedbackLedger(database)
    for kind, number in (("click", 0), ("right", None), ("not_this", 0)):
        said = feedback.check(FeedbackIn(query_id=answered, object=number, product_id="p1", kind=kind))
        feedback.add(said, "f" * 64)
    GoldenLedger(database).add("shop", GoldenIn(product_id="p1", box=(0.1, 0.1, 0.9, 0.9)), "e" * 64)
    RankingLedger(database).set_boosts("shop", [Boost(filter="price < 50", factor=1.25)])
    part = {"scores": [0.1, 0.9], "odds": [-3.0, 3.0]}
    with database.write() as session:
        session.add(
            Calibration(
                index_version=live, curves={}, report={"why": "too little", "part": part}, created_at=now_s()
            )
        )
        session.add(Probe(catalogue_id=1, index_version=live, k=10, recall=0.98, created_at=now_s()))
    webhooks = WebhookLedger(database)
    made = webhooks.add("https://shop.example/hook", ["job.succeeded", "index.promoted"], "shop")
    webhooks.test(made.id)
    Presence(database).beat("search@host", "search", {"detector": "none", "embedder": "tiny"})


def jobs(database: Database) -> None:
    ledger, indexes = JobLedger(database), IndexLedger(database)
    desk = JobDesk(database, "one", 60.0, 4, 8)
    wanted = ImportRequest(source="/data/shop", mode="sync", dry_run=True, repair=True, max_delete_share=0.25)
    options = wanted.model_dump(exclude={"source"})
    done = ledger.create_import("shop", {"path": "/data/shop"}, Idempotent("job", "digest"), options).id
    plan = desk.claim()
    product = ProductIn.model_validate(PRODUCT).model_dump(mode="json")
    items = [
        Item(1, 2, "p1", {"product": product, "files": ["p1.jpg", "https://shop.example/p1b.jpg"]}, 0),
        Item(2, 3, "p2", {"product": product, "images": None}, 0),
        Item(3, 4, "p3", {"delete": True}, 0),
        Problem(5, "p4", None, "invalid_price", "price: is no number"),
    ]
    write_plan(desk, database, plan, items, 10, finish=True)
    desk.finish(plan)
    work = desk.claim()
    with database.write() as session:
        outcomes = [Outcome(item, "unchanged") for item in desk.items(work)]
        desk.record(session, work, outcomes)
    desk.finish(work)
    end = desk.claim()
    desk.finish(end, {"dry_run": {"new": 0, "changed": 0, "unchanged": 3, "samples": []}})
    assert ledger.status(done).state == "succeeded"
    # What a worker of the next version finds waiting.
    ledger.create_import(
        "shop", {"archive": "f" * 64 + "-upload.zip"}, None, {**options, "mode": "metadata_only"}
    )
    ledger.create_put("shop", "p1", ProductIn.model_validate(PRODUCT), ["1" * 64])
    ledger.create_put("shop", "p2", ProductIn.model_validate(PRODUCT), None)
    ledger.create_patch("shop", "p3", {"price": "1.50", "attributes": {"material": None}})
    ledger.create_delete("shop", ["p3"])
    ledger.create("reconcile", "shop", {"repair": True})
    indexes.reprocess(
        "shop", ReprocessRequest(detector="none", embedder="tiny", scope="all", promote="auto", repair=True)
    )
    from shared.contracts.indexes import PromoteRequest, RollbackRequest

    indexes.promote("shop", PromoteRequest(index=2, force=True))
    indexes.rollback("shop", RollbackRequest(index=3, force=True))
    indexes.prune("shop", PruneRequest(all=True))
    RankingLedger(database).calibrate("shop")
    ledger.create("duplicates", "shop", {"min_score": 0.9})
    ledger.create("rebuild", "shop")


def messages() -> dict[str, object]:
    app = make_celery("memory://")
    found = {}
    for task in TaskName:
        row_id = "00000000-0000-4000-8000-000000000001"
        if task is TaskName.WORK_CHUNK:
            row_id += ":0"
        made = app.amqp.as_task_v2(row_id, str(task), args=[row_id])
        found[str(task)] = {"headers": made.headers, "body": made.body, "queue": str(LANE_OF[task])}
    return json.loads(json.dumps(found, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
