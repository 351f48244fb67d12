"""Groups of duplicates over HTTP: pages, refusals, jobs and CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from shared.catalogue.duplicates import DuplicateRepository
from shared.contracts.duplicates import DuplicateGroup
from shared.database.clock import now_s
from shared.database.tables import Duplicate, Job, Product
from shared.errors import Expired, InvalidInput, UnknownCatalogue
from tests.web_builders import Shop as WebShop
from tests.web_builders import open_shop


@pytest.fixture
def web(tmp_path: Path) -> WebShop:
    return open_shop(tmp_path / "web")


def fill(web: WebShop, numbers: int, title: str = "Chair") -> str:
    """A finished job with so many groups of two products."""
    database = web.parts.database
    with database.write() as session:
        for n in range(2 * numbers):
            session.add(
                Product(
                    catalogue_id=1, product_id=f"q{n}", titles={"en": title}, category="", categories={},
                    price=None, currency=None, url=None, tags=[], attributes={}, digest="",
                    updated_at=now_s(),
                )
            )  # fmt: skip
        job = Job(
            id=f"00000000-0000-0000-0000-{numbers:012d}", kind="duplicates", catalogue_id=1,
            state="succeeded", source={}, created_at=now_s(), finished_at=now_s(),
        )  # fmt: skip
        session.add(job)
        session.flush()
        for n in range(numbers):
            for k in range(2):
                session.add(
                    Duplicate(
                        job_id=job.id, group_number=n + 1, product_id=f"q{2 * n + k}", image_id="0" * 32,
                        kind="exact" if n < 2 else "near", score=1.0 if k == 0 else 0.95, keep=k == 0,
                    )
                )  # fmt: skip
        return job.id


PLACE = "/v1/catalogues/demo/duplicates"


def test_pages_of_groups(web: WebShop) -> None:
    assert web.client.get(PLACE).json == {"job_id": None, "found_at": None, "groups": [], "next_cursor": None}
    fill(web, 5)
    seen: list[str] = []
    cursor = ""
    while True:
        page = web.client.get(f"{PLACE}?limit=2{cursor}").json
        seen += [group["id"] for group in page["groups"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["1", "2", "3", "4", "5"]
    near = web.client.get(f"{PLACE}?kind=near").json["groups"]
    assert [group["id"] for group in near] == ["3", "4", "5"]
    assert near[0] == {
        "id": "3",
        "kind": "near",
        "keep": "q4",
        "products": [
            {"product_id": "q4", "title": "Chair", "image_url": f"/v1/images/{'0' * 32}", "similarity": 1.0},
            {"product_id": "q5", "title": "Chair", "image_url": f"/v1/images/{'0' * 32}", "similarity": 0.95},
        ],
    }


def test_what_is_refused(web: WebShop) -> None:
    job = fill(web, 1)
    for query in ("kind=some", "limit=0", "limit=101", "limit=x", "cursor=x", f"cursor={job}"):
        assert web.client.get(f"{PLACE}?{query}").status_code == 422, query
    other = "00000000-0000-0000-0000-00000000ffff"
    assert web.client.get(f"{PLACE}?cursor={other}:1").status_code == 410
    assert web.client.get("/v1/catalogues/none/duplicates").status_code == 404
    assert web.client.get("/v1/catalogues/none/duplicates.csv").status_code == 404
    assert web.client.post(PLACE, json={"max_bits": 99}).status_code == 422
    assert web.client.post("/v1/catalogues/none/duplicates").status_code == 404
    ledger = DuplicateRepository(web.parts.database)
    with pytest.raises(UnknownCatalogue):
        ledger.groups("none")
    with pytest.raises(InvalidInput):
        ledger.groups("demo", cursor="?")
    with pytest.raises(Expired):
        ledger.groups("demo", cursor=f"{other}:1")


def test_a_job_is_made_and_rung_for(web: WebShop) -> None:
    answer = web.client.post(PLACE, json={"near": False})
    assert answer.status_code == 202
    assert answer.json["kind"] == "duplicates"
    assert answer.json["options"] == {"near": False, "max_bits": 10, "min_score": 0.9}
    assert web.publisher.published
    assert web.client.post(PLACE).json["options"]["near"] is True


def test_csv_is_safe_in_a_spreadsheet(web: WebShop) -> None:
    fill(web, 3, title="=HYPERLINK(1)")
    answer = web.client.get(f"{PLACE}.csv?kind=exact")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["group", "kind", "keep", "product_id", "title", "similarity", "image_url"]
    assert [(row[0], row[2], row[3]) for row in rows[1:]] == [
        ("1", "yes", "q0"),
        ("1", "", "q1"),
        ("2", "yes", "q2"),
        ("2", "", "q3"),
    ]
    assert rows[1][4] == "'=HYPERLINK(1)"
    assert "duplicates.csv" in answer.headers["Content-Disposition"]


def test_groups_are_of_the_contract(web: WebShop) -> None:
    fill(web, 2)
    for group in DuplicateRepository(web.parts.database).iterate_all("demo"):
        assert DuplicateGroup.model_validate(group.model_dump()) == group
