"""Fetching pictures: pauses that a site asks for, answers that are no outage, and packed bodies."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest

from shared.errors import BodyTooLarge, Unreachable
from shared.imports.addresses import Fetcher
from shared.net import url_fetch
from shared.net.url_fetch import HttpStatusError, retry_after_s

PICTURE = "https://shop.example/a.jpg"


class Site:
    """Answers one after the other; the last one for ever."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.count = 0
        self.now = 100.0
        self.pauses: list[float] = []

    def fetch(self, address: str, max_bytes: int, deadline_s: float) -> bytes:
        self.count += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def fetcher(self) -> Fetcher:
        return Fetcher(self.fetch, True, 1000, lambda: self.now, self.sleep)


@pytest.mark.parametrize(("status", "pause"), [(429, 7.0), (503, 2.0), (503, None)])
def test_a_pause_that_the_site_asks_for_is_kept(status: int, pause: float | None) -> None:
    site = Site(HttpStatusError(status, pause), b"picture")
    assert site.fetcher().open(PICTURE).read() == b"picture"
    assert site.pauses == [0.5 if pause is None else pause]


def test_a_long_pause_is_not_waited_for_and_the_site_is_left_alone() -> None:
    site = Site(HttpStatusError(429, 600.0), b"picture")
    fetcher = site.fetcher()
    for _ in range(3):
        with pytest.raises(Unreachable, match="import again"):
            fetcher.open(PICTURE)
    assert (site.count, site.pauses) == (1, [])
    site.now += 601
    assert fetcher.open(PICTURE).read() == b"picture"


def test_answers_do_not_count_against_a_site() -> None:
    """A shop with many dead links is no dead shop; the control is the site that does not answer."""
    site = Site(*[HttpStatusError(403)] * 20, b"picture")
    fetcher = site.fetcher()
    for _ in range(20):
        with pytest.raises(Unreachable, match="403"):
            fetcher.open(PICTURE)
    assert fetcher.open(PICTURE).read() == b"picture"
    silent = Site(*[Unreachable("slow")] * 20, b"picture")
    fetcher = silent.fetcher()
    for _ in range(20):
        with pytest.raises(Unreachable):
            fetcher.open(PICTURE)
    assert silent.count == 4


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("120") == 120
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after_s(date) or 0) < 91


class Answer:
    """What a server sends, in small pieces."""

    def __init__(self, body: bytes, coding: str) -> None:
        self.body = body
        self.headers = [(b"content-encoding", coding.encode())]

    def iter_stream(self) -> Iterator[bytes]:
        for at in range(0, len(self.body), 100):
            yield self.body[at : at + 100]


def read(body: bytes, coding: str, max_bytes: int = 10_000) -> bytes:
    return b"".join(url_fetch._pieces(cast(Any, Answer(body, coding)), max_bytes))


def test_a_packed_body_is_unpacked_within_the_limit() -> None:
    picture = bytes(range(256)) * 20
    assert read(gzip.compress(picture), "gzip") == picture
    assert read(zlib.compress(picture), "deflate") == picture
    assert read(picture, "") == picture
    with pytest.raises(BodyTooLarge):
        read(gzip.compress(bytes(10**7)), "gzip")
    with pytest.raises(Unreachable, match="cut off"):
        read(gzip.compress(picture)[:-20], "gzip")
    with pytest.raises(Unreachable, match="damaged"):
        read(picture, "gzip")
