"""The client's side of HTTP, against a server that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.client import VitrineClient
from cli.services.sockets import free_ports
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


@dataclass
class Script:
    """Answers in order, the last one for ever, and the requests that came."""

    answers: list[tuple[int, Any]]
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def serve() -> Iterator[Callable[[Script], VitrineClient]]:
    servers: list[ThreadingHTTPServer] = []

    def start(script: Script) -> VitrineClient:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                script.seen.append((self.command, self.path, dict(self.headers), body))
                status, said = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in script.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return VitrineClient(f"http://127.0.0.1:{server.server_port}/", "a-key", timeout_s=5.0)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_search_polls_until_the_answer_is_there(serve: Callable[[Script], VitrineClient]) -> None:
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


def test_overloaded_server_gets_the_same_search_again(serve: Callable[[Script], VitrineClient]) -> None:
    script = Script(
        [(429, error("overloaded")), (200, task("succeeded", result=RESULT))], headers={"Retry-After": "0"}
    )
    serve(script).search(b"a photo")
    keys = {each[2]["Idempotency-Key"] for each in script.seen}
    assert len(script.seen) == 2
    assert len(keys) == 1


def test_search_gives_up_at_its_deadline(serve: Callable[[Script], VitrineClient]) -> None:
    with pytest.raises(Unavailable, match="Search 7 was not answered"):
        serve(Script([(202, task("queued"))])).search(b"a photo", deadline_s=0.5)
    with pytest.raises(Overloaded):
        serve(Script([(429, error("overloaded"))], headers={"Retry-After": "3600"})).search(
            b"a photo", deadline_s=0.5
        )


def test_failed_and_cancelled_searches_raise(serve: Callable[[Script], VitrineClient]) -> None:
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
    serve: Callable[[Script], VitrineClient], status: int, body: Any, kind: type[VitrineError]
) -> None:
    with pytest.raises(VitrineError) as caught:
        serve(Script([(status, body)])).job("j")
    assert type(caught.value) is kind
    if isinstance(body, dict):
        assert "It is wrong." in caught.value.message
        assert caught.value.field == "image"
        assert ("r1" in caught.value.message) == (kind is VitrineError)


def test_another_program_on_the_port_is_noticed(serve: Callable[[Script], VitrineClient]) -> None:
    with pytest.raises(VitrineError, match="another program"):
        serve(Script([(200, b"<html>hello</html>")])).catalogues()


def test_nobody_there_says_how_to_start() -> None:
    with (
        VitrineClient(f"http://127.0.0.1:{free_ports(1)[0]}") as client,
        pytest.raises(Unavailable, match="vitrine up"),
    ):
        client.health()


def test_not_ready_is_an_answer_not_an_error(serve: Callable[[Script], VitrineClient]) -> None:
    health = serve(Script([(503, {"ready": False, "parts": {"broker": "away"}})])).health()
    assert (health.ready, health.parts) == (False, {"broker": "away"})


def test_failures_are_read_page_by_page(serve: Callable[[Script], VitrineClient]) -> None:
    def page(row: int, following: str | None) -> dict[str, Any]:
        failure = {"row": row, "product_id": None, "image": None, "reason": "r", "message": "m"}
        return {"failures": [failure], "next": following}

    script = Script([(200, page(1, "11")), (200, page(2, "12")), (200, page(3, None))])
    assert [each.row for each in serve(script).failures("j", page=1)] == [1, 2, 3]
    assert script.seen[2][1] == "/v1/jobs/j/failures?limit=1&after=12"


def test_archive_is_streamed_with_its_length(
    serve: Callable[[Script], VitrineClient], tmp_path: Path
) -> None:
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
