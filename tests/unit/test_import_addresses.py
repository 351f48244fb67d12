"""Images by address: who may be asked, how often, and what becomes of an address that does not deliver."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import BinaryIO

import pytest

from shared.errors import BodyTooLarge, ImageMissing, ImageTooLarge, Refused, Unreachable
from shared.imports.addresses import Fetcher, WithAddresses
from shared.imports.kinds import is_under_s3_roots
from shared.imports.sources import ManifestAlone, NoSource, Source

PICTURE = "https://shop.example/a.jpg"


class Web:
    """Answers in order, the last answer for ever: bytes, or an error to raise."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.waits_s: list[float] = []

    def __call__(self, address: str, max_bytes: int, deadline_s: float) -> bytes:
        self.asked.append(address)
        self.waits_s.append(deadline_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def no_s3(address: str) -> BinaryIO:
    raise AssertionError(address)


def source(
    web: Callable[[str, int, float], bytes],
    inner: Source | None = None,
    base: str | None = None,
    read_s3: Callable[[str], BinaryIO] = no_s3,
) -> WithAddresses:
    return WithAddresses(inner or NoSource(), Fetcher(web, True, 1000), read_s3, ("s3://goods/open",), base)


def test_an_address_is_fetched_and_every_other_name_is_not() -> None:
    web = Web(b"a picture")
    found = source(web)
    assert found.open(PICTURE).read() == b"a picture"
    for name in ("a.jpg", "https:/shop.example/a.jpg", "ftp://shop.example/a.jpg", "file:///etc/passwd"):
        with pytest.raises(ImageMissing):
            found.open(name)
    assert web.asked == [PICTURE]


def test_off_means_that_nobody_is_asked() -> None:
    web = Web(b"a picture")
    with pytest.raises(Refused, match="VITRINE_WEB__URL_IMPORT"):
        Fetcher(web, False, 1000).open(PICTURE)
    assert web.asked == []


def test_names_are_relative_to_the_address_of_the_manifest() -> None:
    web = Web(b"a picture")
    alone = ManifestAlone("manifest.csv", lambda: io.BytesIO(b"product_id"))
    found = source(web, alone, "https://shop.example/feeds/products.csv?key=1")
    assert found.open("manifest.csv").read() == b"product_id"
    for name in ("img/a.jpg", "/img/b.jpg", "https://other.example/c.jpg"):
        found.open(name)
    assert web.asked == [
        "https://shop.example/feeds/img/a.jpg",
        "https://shop.example/img/b.jpg",
        "https://other.example/c.jpg",
    ]


def test_what_does_not_deliver_is_asked_once_more() -> None:
    web = Web(Unreachable("slow"), b"a picture")
    assert source(web).open(PICTURE).read() == b"a picture"
    assert len(web.asked) == 2
    web = Web(Unreachable("slow"))
    with pytest.raises(Unreachable):
        source(web).open(PICTURE)
    assert len(web.asked) == 2
    assert sum(web.waits_s) < 10


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ImageMissing("404"), ImageMissing),
        (Refused("private"), Refused),
        (BodyTooLarge("big"), ImageTooLarge),
    ],
)
def test_what_would_be_the_same_again_is_not_asked_again(answer: Exception, error: type[Exception]) -> None:
    web = Web(answer)
    with pytest.raises(error):
        source(web).open(PICTURE)
    assert len(web.asked) == 1


def test_a_site_that_is_down_is_left_alone_for_a_while_and_others_are_not() -> None:
    now = [0.0]
    web = Web(Unreachable("down"))
    fetcher = Fetcher(web, True, 1000, lambda: now[0])
    for _ in range(10):
        with pytest.raises(Unreachable):
            fetcher.open(PICTURE)
    assert len(web.asked) == 4
    web.answers = [b"a picture"]
    assert fetcher.open("https://other.example/a.jpg").read() == b"a picture"
    with pytest.raises(Unreachable, match="skipped for 30 s"):
        fetcher.open(PICTURE)
    now[0] = 31.0
    assert fetcher.open(PICTURE).read() == b"a picture"


def test_at_most_four_ask_one_site_at_once() -> None:
    at_once, most, lock, four = [0], [0], threading.Lock(), threading.Barrier(4)

    def fetch(address: str, max_bytes: int, deadline_s: float) -> bytes:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        four.wait(30)  # so that four do meet
        with lock:
            at_once[0] -= 1
        return b"x"

    fetcher = Fetcher(fetch, True, 1000)
    threads = [threading.Thread(target=fetcher.open, args=(PICTURE,), daemon=True) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [4]


def test_objects_are_read_only_under_the_roots() -> None:
    read: list[str] = []

    def read_s3(address: str) -> BinaryIO:
        read.append(address)
        return io.BytesIO(b"a picture")

    found = source(Web(b""), read_s3=read_s3)
    assert found.open("s3://goods/open/a.jpg").read() == b"a picture"
    for name in ("s3://goods/a.jpg", "s3://goods/open-not/a.jpg", "s3://goods/open/../a.jpg", "s3://x/a.jpg"):
        with pytest.raises(Refused, match="import roots"):
            found.open(name)
    assert read == ["s3://goods/open/a.jpg"]


def test_a_whole_bucket_may_be_a_root() -> None:
    assert is_under_s3_roots("s3://goods/a/b.jpg", ("s3://goods",))
    assert not is_under_s3_roots("s3://goods-private/b.jpg", ("s3://goods", "/srv"))
    assert not is_under_s3_roots("s3://goods/b.jpg", ("/srv",))
