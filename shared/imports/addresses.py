"""Images that a manifest names by their addresses, beside those in the import itself."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from shared.errors import BodyTooLarge, ImageTooLarge, Refused, Unreachable
from shared.imports.kinds import S3, is_under_s3_roots
from shared.imports.sources import Source
from shared.net.addresses import join_address, parse_web_address

#: Of one site at once, in this process.
_AT_ONCE = 4
#: Of a try and the one after it: together below ten seconds.
_DEADLINES_S = (6.0, 3.5)
#: A site that failed so often in a row is left alone for a while: a dead one would stop the import.
_FAILURES = 4
_REST_S = 30.0
_WEB = ("http://", "https://")


@dataclass
class _Site:
    turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))
    failures: int = 0
    rests_until: float = 0.0


@dataclass
class Fetcher:
    """Fetches images by address, politely. Used by many threads.

    Args:
        fetch: returns the bytes behind an address, at most so many within so many seconds, as
            ``fetch_image`` does.
        allowed: whether ``web.url_import`` is on.
    """

    fetch: Callable[[str, int, float], bytes]
    allowed: bool
    max_bytes: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._sites: dict[str, _Site] = {}
        self._lock = threading.Lock()

    def open(self, address: str) -> BinaryIO:
        """Return what is at a web address.

        Raises:
            InvalidInput: it is no web address.
            Refused: addresses are off, or this one leads into a private network.
            Unreachable: it does not deliver, twice, or its site did not deliver lately.
            ImageMissing: there is nothing.
            ImageTooLarge: it is too large for an image.
        """
        if not self.allowed:
            raise Refused(
                f"Image addresses are off, so {address[:200]!r} is not fetched: set "
                "VITRINE_WEB__URL_IMPORT=true for web and worker, or send the files."
            )
        with self._turn(parse_web_address(address).netloc) as site:
            try:
                return io.BytesIO(self._twice(site, address))
            except BodyTooLarge as error:
                raise ImageTooLarge(
                    f"{address[:200]!r} is larger than {self.max_bytes:,} bytes: make it smaller."
                ) from error

    def _twice(self, site: _Site, address: str) -> bytes:
        try:
            return self._once(site, address, _DEADLINES_S[0])
        except Unreachable:
            return self._once(site, address, _DEADLINES_S[1])

    def _once(self, site: _Site, address: str, deadline_s: float) -> bytes:
        try:
            data = self.fetch(address, self.max_bytes, deadline_s)
        except Unreachable:
            site.failures += 1
            raise
        site.failures = 0
        return data

    @contextmanager
    def _turn(self, host: str) -> Iterator[_Site]:
        with self._lock:
            site = self._sites.setdefault(host, _Site())
        with site.turns:
            if site.failures >= _FAILURES:
                site.failures, site.rests_until = 0, self.clock() + _REST_S
            if self.clock() < site.rests_until:
                raise Unreachable(f"{host} did not deliver {_FAILURES} times in a row: asked again later.")
            yield site


@dataclass(frozen=True)
class WithAddresses:
    """A source whose manifest may also name images by web and S3 addresses.

    Args:
        inner: where every other name is looked for.
        fetcher: for web addresses.
        read_s3: reads an object, given its ``s3://`` address.
        s3_roots: ``s3://`` addresses are read only under these.
        base: the manifest's own web address, if it has one: other names are relative to it.
    """

    inner: Source
    fetcher: Fetcher
    read_s3: Callable[[str], BinaryIO]
    s3_roots: tuple[str, ...]
    base: str | None = None

    @property
    def manifest(self) -> str | None:
        return self.inner.manifest

    def names(self) -> Iterator[str]:
        return self.inner.names()

    def open(self, name: str) -> BinaryIO:
        """Open a file, an object, or what is at an address. Raises as ``Fetcher.open`` and the source."""
        if self.base is not None and "://" not in name and name != self.inner.manifest:
            name = join_address(self.base, name)
        if name.startswith(_WEB):
            return self.fetcher.open(name)
        if not name.startswith(S3):
            return self.inner.open(name)
        if not is_under_s3_roots(name, self.s3_roots):
            raise Refused(f"{name[:200]!r} is not under the import roots (VITRINE_JOBS__IMPORT_ROOTS).")
        return self.read_s3(name)
