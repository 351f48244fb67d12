"""Clients: shoppers, a catalogue owner, and a poller that follows every promise to its end."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from tests import builders
from tests.chaos.record import AcceptedRequest, Record
from tests.packing import archive, pictures

PHOTOS = list(pictures(24).values())
#: One request in a hundred sends a file made to hurt.
HOSTILE = [
    builders.png_bomb(12_000),
    builders.lying_png(),
    builders.jpeg_of_many_scans(40),
    *builders.NOT_PICTURES.values(),
]
PRODUCTS = 40
BULK_PICTURES = 64
_TIMEOUT_S = 40.0
_ENDED = ("succeeded", "failed", "cancelled")


class Clients:
    """Threads of traffic against one site.

    Args:
        url: base address of the web.
        rate: multiplies the pauses' inverse: 2.0 is twice the traffic.
    """

    def __init__(self, url: str, record: Record, seed: int, rate: float = 1.0) -> None:
        self._url = url
        self._record = record
        self._rate = rate
        self._stop = threading.Event()
        self._stop_polling = threading.Event()
        roles: list[Callable[[random.Random, httpx.Client], None]] = [
            *[self._shopper] * 4,
            self._owner,
            self._bulk,
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(role, random.Random(seed + n)), daemon=True)
            for n, role in enumerate(roles)
        ]
        self._poller = threading.Thread(target=self._poll, daemon=True)

    def start(self) -> None:
        for thread in (*self._threads, self._poller):
            thread.start()

    def stop_asking(self) -> None:
        """End new requests; polling goes on."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S * 2)

    def stop_polling(self) -> None:
        self._stop_polling.set()
        self._poller.join(_TIMEOUT_S * 2)

    def _run(self, role: Callable[[random.Random, httpx.Client], None], chance: random.Random) -> None:
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
            while not self._stop.is_set():
                try:
                    role(chance, client)
                except httpx.HTTPError:
                    self._record.count("no answer")

    def _pause(self, chance: random.Random, mean_s: float) -> None:
        self._stop.wait(chance.expovariate(self._rate / mean_s))

    # Shoppers.

    def _shopper(self, chance: random.Random, client: httpx.Client) -> None:
        self._pause(chance, 1.2)
        kind = chance.random()
        if kind < 0.01:
            answer = self._ask(client, chance, photo=chance.choice(HOSTILE))
            self._expect(answer, "hostile", (202, 413, 415, 422, 429, 503))
        elif kind < 0.06:
            answer = self._ask(client, chance, catalogue="nowhere")
            self._expect(answer, "unknown catalogue", (404, 429, 503))
        elif kind < 0.11:
            key = uuid.uuid4().hex
            photo = chance.choice(PHOTOS)
            for _ in range(3):
                self._search(client, chance, key, photo)
        elif kind < 0.14:
            task_id = self._search(client, chance, uuid.uuid4().hex, chance.choice(PHOTOS))
            if task_id is not None:
                client.delete(f"/v1/tasks/{task_id}")
        else:
            wait = f"wait={chance.choice((0, 0, 1, 5))}"
            self._search(client, chance, uuid.uuid4().hex, chance.choice(PHOTOS), wait)

    def _search(
        self, client: httpx.Client, chance: random.Random, key: str, photo: bytes, prefer: str = "wait=0"
    ) -> str | None:
        """Ask until there is an answer, as a good client does: the same key, after ``Retry-After``."""
        for _ in range(8):
            try:
                answer = self._ask(client, chance, photo=photo, key=key, prefer=prefer)
            except httpx.HTTPError:
                self._record.count("search: no answer")
                self._stop.wait(0.5)
                continue
            self._expect(answer, "search", (200, 202, 429, 503))
            if answer.status_code in (200, 202):
                task_id = str(answer.json()["id"])
                self._record.accept(task_id, key)
                return task_id
            if self._stop.wait(min(float(answer.headers.get("Retry-After", 1)), 5.0)):
                return None
        return None

    def _ask(
        self,
        client: httpx.Client,
        chance: random.Random,
        photo: bytes = PHOTOS[0],
        catalogue: str = "shop",
        key: str | None = None,
        prefer: str = "wait=0",
    ) -> httpx.Response:
        headers = {"Prefer": prefer, **({"Idempotency-Key": key} if key else {})}
        return client.post(
            "/v1/searches",
            files={"image": ("photo.jpg", photo)},
            data={"catalogue": catalogue, "top_k": "5"},
            headers=headers,
        )

    # The catalogue's owner.

    def _owner(self, chance: random.Random, client: httpx.Client) -> None:
        """Write products one by one; the only writer, so that the last promise is known."""
        self._pause(chance, 2.0)
        name = f"product-{chance.randrange(PRODUCTS)}"
        version: int | None = None if chance.random() < 0.15 else chance.randrange(1, 1_000_000)
        address = f"/v1/catalogues/shop/products/{name}"
        try:
            if version is None:
                answer = client.delete(address)
            else:
                photo = builders.jpeg(seed=1000 + version % 40, width=120, height=96)
                answer = client.put(
                    address,
                    data={"product": f'{{"price": {version}}}'},
                    files={"image": ("photo.jpg", photo)},
                )
        except httpx.HTTPError:
            self._record.unsure.add(name)
            self._record.history[name].append((time.time(), version, "no answer"))
            raise
        self._expect(answer, "product", (202, 404, 429, 503))
        job_id = answer.json().get("id", str(answer.status_code))
        self._record.history[name].append((time.time(), version, job_id))
        if answer.status_code == 202:
            self._record.products[name] = version
            self._record.unsure.discard(name)
            self._record.jobs.append(str(answer.json()["id"]))

    def _bulk(self, chance: random.Random, client: httpx.Client) -> None:
        """Import into another catalogue, and now and then rebuild its index."""
        self._pause(chance, 30.0)
        if chance.random() < 0.25:
            answer = client.post("/v1/catalogues/bulk/rebuild")
            self._expect(answer, "rebuild", (202, 404, 409, 422, 429, 503))
        else:
            packed = archive(pictures(BULK_PICTURES, first=chance.randrange(0, 256)))
            answer = client.post(
                "/v1/catalogues/bulk/imports",
                content=packed,
                headers={"Content-Type": "application/zip", "Idempotency-Key": uuid.uuid4().hex},
            )
            self._expect(answer, "import", (202, 429, 503))
        if answer.status_code == 202:
            self._record.jobs.append(str(answer.json()["id"]))

    # Following promises.

    def _poll(self) -> None:
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
            while not self._stop_polling.is_set():
                try:
                    seen = self._poll_search(client) + self._poll_job(client)
                except httpx.HTTPError:
                    seen = 0
                if not seen:
                    self._stop_polling.wait(0.2)

    def _poll_search(self, client: httpx.Client) -> int:
        """Look at the oldest pending search; return whether it had ended."""
        record = self._record
        if not record.pending:
            return 0
        search: AcceptedRequest = record.pending[0]
        answer = client.get(f"/v1/tasks/{search.task_id}")
        if answer.status_code in (404, 410):
            record.lost.append(search.task_id)
        elif answer.status_code != 200:
            return 0
        else:
            task: dict[str, Any] = answer.json()
            if task["state"] not in _ENDED:
                with record.lock:
                    record.pending.rotate(-1)
                return 0
            record.end(search, task["error"]["code"] if task["state"] == "failed" else task["state"])
        with record.lock:
            record.pending.remove(search)
        return 1

    def _poll_job(self, client: httpx.Client) -> int:
        record = self._record
        if not record.jobs:
            return 0
        job_id = record.jobs[0]
        answer = client.get(f"/v1/jobs/{job_id}")
        if answer.status_code == 404:
            record.lost.append(job_id)
        elif answer.status_code != 200:
            return 0
        else:
            job = answer.json()
            if job["state"] not in _ENDED:
                record.jobs.rotate(-1)
                return 0
            failed = f" {job['error']['code']}" if job.get("error") else ""
            record.job_outcomes[f"{job['kind']} {job['state']}{failed}"] += 1
        record.jobs.remove(job_id)
        return 1

    def _expect(self, answer: httpx.Response, what: str, statuses: tuple[int, ...]) -> None:
        self._record.count(f"{what}: {answer.status_code}")
        if answer.status_code not in statuses:
            self._record.violate(f"{what} was answered {answer.status_code}: {answer.text[:200]}")


def wait_until_searchable(url: str, within_s: float, supervise: Callable[[], None]) -> float | None:
    """Return the seconds until a new search succeeded, None if none did ``within_s``.

    Args:
        supervise: starts ended processes again, before each search.
    """
    began = time.monotonic()
    with httpx.Client(base_url=url, timeout=15.0) as client:
        while time.monotonic() - began < within_s:
            supervise()
            try:
                answer = client.post(
                    "/v1/searches",
                    files={"image": ("photo.jpg", PHOTOS[0])},
                    data={"catalogue": "shop", "top_k": "1"},
                    headers={"Prefer": "wait=2"},
                )
                if answer.status_code == 200 and answer.json()["state"] == "succeeded":
                    return time.monotonic() - began
            except (httpx.HTTPError, ValueError):
                pass
            time.sleep(0.3)
    return None
