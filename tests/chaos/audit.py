"""After the run: is everything there that was promised, and once?"""

from __future__ import annotations

import httpx
from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Catalogue, Detection, Image, IndexVersionRow, Job, JobItem, Product
from tests.chaos.record import Record
from tests.chaos.site import Site
from tests.servers import PATIENCE_S
from worker.vector_index import MilvusIndex


def audit(site: Site, record: Record) -> dict[str, int]:
    """Return counts of what is lost or doubled; sentences go to ``record.violations``."""
    return {
        "searches_without_an_end": len(record.pending),
        "jobs_without_an_end": len(record.jobs),
        "promises_unknown_to_the_server": len(record.lost),
        "products_that_differ": _compare_products(site, record),
        **_compare_index(site, record),
    }


def _compare_products(site: Site, record: Record) -> int:
    """Compare each product with the last write that was accepted."""
    wrong = 0
    with httpx.Client(base_url=site.url, timeout=PATIENCE_S) as client:
        for name, version in record.products.items():
            if name in record.unsure:
                continue
            answer = client.get(f"/v1/catalogues/shop/products/{name}")
            found = float(answer.json()["price"]) if answer.status_code == 200 else None
            if found != (None if version is None else float(version)):
                written = "; ".join(f"{at:.1f} {what} {how}" for at, what, how in record.history[name])
                record.violations.append(f"{name}: {version} was accepted last, {found} is there ({written})")
                record.violations += _jobs_of(site, name)
                wrong += 1
    return wrong


def _jobs_of(site: Site, product_id: str) -> list[str]:
    """Describe the jobs that wrote a product, in the order in which they were accepted."""
    database = Database(site.database_url)
    with database.read() as session:
        rows = session.execute(
            select(Job.id, Job.state, Job.created_at, Job.started_at, Job.finished_at)
            .join(JobItem, JobItem.job_id == Job.id)
            .where(JobItem.product_id == product_id)
            .order_by(Job.created_at)
        ).all()
    database.close()
    return [f"    job {' '.join(map(str, row))}" for row in rows]


def _compare_index(site: Site, record: Record) -> dict[str, int]:
    """Compare the rows of each live collection with the detections of its catalogue."""
    database = Database(site.database_url)
    index = MilvusIndex(site.env["VITRINE_MILVUS__URI"], timeout_s=PATIENCE_S)
    missing = surplus = doubled = 0
    with database.read() as session:
        live = session.execute(
            select(Catalogue.name, Catalogue.id, IndexVersionRow.collection)
            .join(IndexVersionRow, IndexVersionRow.catalogue_id == Catalogue.id)
            .where(IndexVersionRow.state == "live")
        ).all()
        for name, catalogue_id, collection in live:
            rows = session.execute(
                select(Detection.image_id, Detection.number)
                .join(Image, Image.id == Detection.image_id)
                .join(Product, Product.id == Image.product)
                .where(Product.catalogue_id == catalogue_id)
            )
            expected = {f"{image}-{number}" for image, number in rows}
            found = set(index.sorted_keys(collection))
            missing += len(expected - found)
            surplus += len(found - expected)
            doubled += index.count(collection) - len(found)
            if expected != found:
                record.violations.append(
                    f"{name}: {len(expected - found)} rows missing, {len(found - expected)} surplus"
                )
    index.close()
    database.close()
    return {"index_rows_missing": missing, "index_rows_surplus": surplus, "index_rows_doubled": doubled}
