"""The client's side of HTTP, against a server that answers what a test tells it to."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.client import VitrineClient
from cli.services.sockets import find_free_ports
from shared.contracts import SearchOptions
from shared.errors import (
    Conflict,
    InvalidInput,
    Overloaded,
    StorageUnavailable,
    Unavailable,
    UndecodableImage,
    UnknownCatalogue,
    VitrineError,
)
from vitrine_client import Vitrine

ROOT = Path(__file__).parents[2]
RESULT = {
    "query_id": "q",
    "catalogue": "demo",
    "objects": [],
    "whole": {"hits": []},
    "timings_ms": {},
    "models": {},
}


def task(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "7", "state": state, "created_at": "2026-01-01T00:00:00Z", **more}


def error(code: str, message: str = "It is wrong.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "field": "image", "request_id": "r1"}}


JOB = {
    "id": "j1", "kind": "put", "catalogue": "shop", "state": "queued", "total": 1, "done": 0, "counts": {},
    "images": 0, "image_failures": 0, "rate_per_s": None, "eta_s": None, "started_at": None,
    "finished_at": None, "created_at": "2026-01-01T00:00:00Z", "error": None,
}  # fmt: skip
#: Instead of a status: the connection is closed without an answer.
HANG_UP = 0


@dataclass
class Script:
    """Answers in order, the last one for ever, and the requests that came."""

    answers: list[tuple[int, Any]]
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited between its tries; it does not."""
    found: list[float] = []
    clock = SimpleNamespace(sleep=found.append, monotonic=time.monotonic)
    for module in ("connection", "jobs", "searches"):
        monkeypatch.setattr(f"vitrine_client.{module}.time", clock)
    return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Vitrine]]:
    servers: list[ThreadingHTTPServer] = []

    def start(script: Script, retries: int = 0) -> Vitrine:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                script.seen.append((self.command, self.path, dict(self.headers), body))
                status, said = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if status == HANG_UP:
                    self.close_connection = True
                    return
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in script.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return Vitrine(f"http://127.0.0.1:{server.server_port}/", "a-key", timeout_s=5.0, retries=retries)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_search_polls_until_the_answer_is_there(serve: Callable[..., Vitrine]) -> None:
    script = Script([(202, task("queued")), (200, task("running")), (200, task("succeeded", result=RESULT))])
    client = serve(script)
    options = SearchOptions(catalogue="shop", top_k=3, box=(0.1, 0.2, 0.5, 0.6), detect=False)
    assert client.search(b"a photo", options).query_id == "q"
    first = script.seen[0]
    assert first[:2] == ("POST", "/v1/searches")
    assert first[2]["Authorization"] == "Bearer a-key"
    assert first[2]["Prefer"] == "wait=20"
    for part in (b"a photo", b"0.1,0.2,0.5,0.6", b"shop", b"false"):
        assert part in first[3]
    assert [each[1] for each in script.seen[1:]] == ["/v1/tasks/7", "/v1/tasks/7"]


def test_overloaded_server_gets_the_same_search_again(serve: Callable[..., Vitrine]) -> None:
    script = Script(
        [(429, error("overloaded")), (200, task("succeeded", result=RESULT))], headers={"Retry-After": "0"}
    )
    serve(script).search(b"a photo")
    keys = {each[2]["Idempotency-Key"] for each in script.seen}
    assert len(script.seen) == 2
    assert len(keys) == 1


def test_search_gives_up_at_its_deadline(serve: Callable[..., Vitrine]) -> None:
    with pytest.raises(Unavailable, match="Search 7 was not answered"):
        serve(Script([(202, task("queued"))])).search(b"a photo", deadline_s=0.5)
    with pytest.raises(Overloaded):
        serve(Script([(429, error("overloaded"))], headers={"Retry-After": "3600"})).search(
            b"a photo", deadline_s=0.5
        )


def test_failed_and_cancelled_searches_raise(serve: Callable[..., Vitrine]) -> None:
    failed = task("failed", error={"code": "undecodable_image", "message": "Cut off."})
    with pytest.raises(UndecodableImage, match=r"Cut off\."):
        serve(Script([(202, task("queued")), (200, failed)])).search(b"a photo")
    with pytest.raises(Conflict, match="cancelled"):
        serve(Script([(200, task("cancelled"))])).search(b"a photo")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, error("unknown_catalogue"), UnknownCatalogue),
        (422, error("invalid_input"), InvalidInput),
        (503, error("storage_unavailable"), StorageUnavailable),
        (500, error("internal"), VitrineError),
        (418, error("a_code_of_the_future"), VitrineError),
        (502, b"<html>bad gateway</html>", Unavailable),
        (403, b"no", VitrineError),
        (500, [1, 2], Unavailable),
    ],
)
def test_errors_come_back_as_their_own_class(
    serve: Callable[..., Vitrine], status: int, body: Any, kind: type[VitrineError]
) -> None:
    with pytest.raises(VitrineError) as caught:
        serve(Script([(status, body)])).job("j")
    assert type(caught.value) is kind
    if isinstance(body, dict):
        assert "It is wrong." in caught.value.message
        assert caught.value.field == "image"
        assert ("r1" in caught.value.message) == (kind is VitrineError)


def test_another_program_on_the_port_is_noticed(serve: Callable[..., Vitrine]) -> None:
    with pytest.raises(VitrineError, match="another program"):
        serve(Script([(200, b"<html>hello</html>")])).catalogues()


def test_nobody_there_is_said() -> None:
    address = f"http://127.0.0.1:{find_free_ports(1)[0]}"
    with Vitrine(address, retries=0) as client, pytest.raises(Unavailable, match="No server answers at"):
        client.health()
    with VitrineClient(address) as client, pytest.raises(Unavailable, match="vitrine up"):
        client.health()


def test_not_ready_is_an_answer_not_an_error(serve: Callable[..., Vitrine]) -> None:
    health = serve(Script([(503, {"ready": False, "parts": {"broker": "away"}})])).health()
    assert (health.ready, health.parts) == (False, {"broker": "away"})


def test_failures_are_read_page_by_page(serve: Callable[..., Vitrine]) -> None:
    def page(row: int, following: str | None) -> dict[str, Any]:
        failure = {"row": row, "product_id": None, "image": None, "reason": "r", "message": "m"}
        return {"failures": [failure], "next": following}

    script = Script([(200, page(1, "11")), (200, page(2, "12")), (200, page(3, None))])
    assert [each.row for each in serve(script).failures("j", page=1)] == [1, 2, 3]
    assert script.seen[2][1] == "/v1/jobs/j/failures?limit=1&after=12"


def test_archive_is_streamed_with_its_length(serve: Callable[..., Vitrine], tmp_path: Path) -> None:
    archive = tmp_path / "import.zip"
    archive.write_bytes(bytes(range(256)) * 4000)
    script = Script([(409, error("conflict"))])
    sent: list[int] = []
    with pytest.raises(Conflict):
        serve(script).start_import(archive, "shop", sent.append)
    method, address, headers, body = script.seen[0]
    assert (method, address) == ("POST", "/v1/catalogues/shop/imports")
    assert headers["Content-Type"] == "application/zip"
    assert headers["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in headers
    assert body == archive.read_bytes()
    assert sent == sorted(sent)
    assert sent[-1] == len(body)


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_not_done_is_asked_again_when_the_server_says(
    serve: Callable[..., Vitrine], pauses: list[float], status: int
) -> None:
    refused = error("overloaded" if status == 429 else "storage_unavailable")
    script = Script([(status, refused), (status, refused), (202, JOB)], headers={"Retry-After": "7"})
    job = serve(script, retries=3).patch_product("shop", "chair", {"price": 3})
    assert job.id == "j1"
    assert [each[0] for each in script.seen] == ["PATCH"] * 3
    assert pauses == [7.0, 7.0], "as long as the server says"


def test_tries_end(serve: Callable[..., Vitrine], pauses: list[float]) -> None:
    script = Script([(503, error("database_unavailable"))])
    with pytest.raises(Unavailable):
        serve(script, retries=2).catalogues()
    assert (len(script.seen), len(pauses)) == (3, 2)
    assert all(0.1 < pause <= 1 for pause in pauses)
    with pytest.raises(UnknownCatalogue):
        serve(script := Script([(404, error("unknown_catalogue"))]), retries=2).catalogues()
    assert len(script.seen) == 1, "what will not change is not asked again"


def test_what_may_have_been_done_is_sent_again_only_if_twice_is_once(
    serve: Callable[..., Vitrine], pauses: list[float]
) -> None:
    """The server hangs up after it read the request."""
    for call, sent in (
        (lambda c: c.job("j1"), 3),
        (lambda c: c.delete_product("shop", "chair"), 3),
        (lambda c: c.search(b"a photo"), 3),  # it carries a key
        (lambda c: c.patch_product("shop", "chair", {}), 1),
        (lambda c: c.rebuild("shop"), 1),
    ):
        script = Script([(HANG_UP, None)])
        with pytest.raises(Unavailable):
            call(serve(script, retries=2))
        assert len(script.seen) == sent


def test_an_upload_that_was_read_is_not_sent_half(
    serve: Callable[..., Vitrine], pauses: list[float], tmp_path: Path
) -> None:
    archive = tmp_path / "import.zip"
    archive.write_bytes(b"x" * 1000)
    script = Script([(503, error("storage_unavailable"))])
    with pytest.raises(StorageUnavailable):
        serve(script, retries=3).start_import(archive, "shop")
    assert [len(each[3]) for each in script.seen] == [1000]


def test_a_search_is_begun_and_waited_for(serve: Callable[..., Vitrine]) -> None:
    script = Script([(202, task("queued")), (200, task("running")), (200, task("succeeded", result=RESULT))])
    client = serve(script)
    begun = client.begin_search(b"a photo")
    assert begun.state == "queued"
    assert "Prefer" not in script.seen[0][2]
    assert client.wait(begun.id).query_id == "q"


def test_a_job_is_watched_by_events_and_asked_for_without_them(
    serve: Callable[..., Vitrine], pauses: list[float]
) -> None:
    def events(*states: str) -> bytes:
        return "".join(f"event: state\ndata: {json.dumps(JOB | {'state': s})}\n\n" for s in states).encode()

    script = Script([(200, JOB), (200, events("running", "succeeded"))])
    assert [job.state for job in serve(script).watch_job("j1")] == ["queued", "running", "succeeded"]
    ended = JOB | {"state": "failed"}
    script = Script([(200, JOB), (503, error("unavailable")), (200, ended)])
    assert [job.state for job in serve(script).watch_job("j1")] == ["queued", "failed"]
    assert serve(Script([(200, JOB), (200, ended)])).wait_job("j1").state == "failed"
    with pytest.raises(Unavailable, match="goes on"):
        serve(Script([(200, JOB)])).wait_job("j1", deadline_s=0)


def test_sources_of_a_search(serve: Callable[..., Vitrine], tmp_path: Path) -> None:
    done = task("succeeded", result=RESULT)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"the file")
    for call, sent in (
        (lambda c: c.search(photo), b"the file"),
        (lambda c: c.search(str(photo)), b"the file"),
        (lambda c: c.search([b"one", photo]), b"one"),
        (lambda c: c.search_url("https://x.example/a.jpg"), b"https://x.example/a.jpg"),
        (lambda c: c.search_product("chair"), b"chair"),
        (lambda c: c.search_again("00000000-0000-0000-0000-000000000000"), b"query_id"),
        (lambda c: c.search_like(SearchOptions(like=("chair",))), b"chair"),
        (lambda c: c.next_page("x"), b"after"),
        (lambda c: c.next_page("x", currency="JPY"), b'"currency":"JPY"'),
    ):
        script = Script([(200, done)])
        call(serve(script))
        assert sent in script.seen[0][3]
    with pytest.raises(InvalidInput, match="cannot be read"):
        serve(Script([(200, done)])).search(tmp_path / "none.jpg")
    with pytest.raises(InvalidInput, match="cannot be read"):
        serve(Script([(201, {})])).add_golden("shop", tmp_path / "none.jpg", "chair")


def test_the_client_loads_nothing_of_the_server() -> None:
    code = (
        "import sys, vitrine_client\n"
        "heavy = {'flask', 'celery', 'redis', 'sqlalchemy', 'torch', 'numpy', 'PIL', 'web', 'worker', 'cli'}"
        " & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_fields_of_a_newer_server_are_ignored(serve: Callable[..., Vitrine]) -> None:
    newer = {"ready": True, "parts": {"broker": "ok"}, "lanes": {"search": {"oldest_s": 0.1}}}
    assert serve(Script([(200, newer)])).health().ready
