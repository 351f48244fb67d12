"""The web process dies by kill -9 in the middle of a request: M22 of the fault matrix."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import func, select

from shared.database import Database
from shared.database.tables import Search
from tests.packing import archive, pictures
from tests.servers import PATIENCE_S, wait_for
from tests.stack import COMMANDS, Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

PLACES = ("after the file", "after the row", "after the publish")


def test_a_retry_after_any_death_gives_one_search(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = stack.folder / "kill-at"
    stack.env["KILL_AT_FILE"] = str(trap)
    stack.env["PYTHONPATH"] = "."
    monkeypatch.setitem(
        COMMANDS, "web", ["gunicorn", "-c", "web/gunicorn_conf.py", "tests.faults.killer_wsgi:app"]
    )
    stack.start()
    photos = pictures(len(PLACES))
    stack.wait_job(stack.import_folder("shop", archive(photos)))
    # Rows there are when the web has died: those cut off before their row left none.
    rows_after_death = dict(zip(PLACES, (0, 2, 3), strict=True))
    for place, photo in zip(PLACES, photos.values(), strict=True):
        trap.write_text(place)
        request = {
            "files": {"image": ("photo.jpg", photo)},
            "data": {"catalogue": "shop"},
            "headers": {"Idempotency-Key": place.replace(" ", "-")},
        }
        with pytest.raises(httpx.HTTPError), httpx.Client(base_url=stack.url, timeout=PATIENCE_S) as client:
            client.post("/v1/searches", **request)  # type: ignore[arg-type]
        assert not trap.exists(), f"nothing died {place}"
        wait_for("the web is back", stack.ready)
        assert count_searches(stack) == rows_after_death[place]
        answer = stack.client().post("/v1/searches", **request)  # type: ignore[arg-type]
        assert answer.status_code in (200, 202), answer.text
        task = stack.wait_task(answer.json()["id"])
        assert task["state"] == "succeeded"
        assert task["result"]["whole"]["hits"][0]["score"] > 0.99
    assert count_searches(stack) == len(PLACES)

    # The control: without the key, the retry of a request that had made its row makes another.
    trap.write_text("after the row")
    upload = {"image": ("photo.jpg", next(iter(photos.values())))}
    with pytest.raises(httpx.HTTPError), httpx.Client(base_url=stack.url, timeout=PATIENCE_S) as client:
        client.post("/v1/searches", files=upload, data={"catalogue": "shop"})
    wait_for("the web is back", stack.ready)
    assert stack.client().post("/v1/searches", files=upload, data={"catalogue": "shop"}).status_code == 202
    assert count_searches(stack) == len(PLACES) + 2


def count_searches(stack: Stack) -> int:
    database = Database(stack.database_url)
    with database.read() as session:
        count = session.scalar(select(func.count()).select_from(Search))
    database.close()
    return count or 0
