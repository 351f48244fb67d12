"""Open the images that a manifest names by web or S3 address."""

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
from shared.imports.sources import Source, UnreadFile, unread_files
from shared.net.addresses import join_address, parse_web_address
from shared.net.url_fetch import HttpStatusError
from shared.process.backoff import CoolDown

#: Maximum number of concurrent requests to one site from this process.
_MAX_CONCURRENT = 4
#: Deadlines of an attempt and its retry: together below ten seconds.
_DEADLINES_S = (6.0, 3.5)
#: Consecutive failures after which a site is skipped for a while, because a dead one would stall the import.
_MAX_FAILURES = 4
_COOL_DOWN_S = 30.0
#: Answers that may be another one a moment later.
_RETRIED_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
#: Pause before the retry of such an answer that states none, and the longest one that is waited for.
_DEFAULT_PAUSE_S = 0.5
_MAX_PAUSE_S = 20.0
#: Longest time for which a site that asked for a longer pause is skipped.
_MAX_SKIP_S = 3600.0
_WEB = ("http://", "https://")


@dataclass
class _Site:
    cool_down: CoolDown
    #: Monotonic seconds before which the site asked to be left alone.
    asked_after: float = float("-inf")
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MAX_CONCURRENT))


@dataclass
class Fetcher:
    """Fetches images by address, with a limit of requests per site. Safe for many threads.

    Args:
        fetch: returns the bytes behind an address, given their maximum number and a deadline in seconds,
            as ``fetch_image`` does.
        allowed: whether ``web.url_import`` is on.
    """

    fetch: Callable[[str, int, float], bytes]
    allowed: bool
    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._sites: dict[str, _Site] = {}
        self._lock = threading.Lock()

    def open(self, address: str) -> BinaryIO:
        """Fetch the content of a web address.

        Raises:
            InvalidInput: it is no web address.
            Refused: addresses are off, or this one leads into a private network.
            Unreachable: two attempts failed, or its site failed repeatedly and is skipped for a while.
            ImageMissing: the server has nothing there.
            ImageTooLarge: it is larger than an image may be.
        """
        if not self.allowed:
            raise Refused(
                f"Image addresses are off, so {address[:200]!r} is not fetched: set "
                "VITRINE_WEB__URL_IMPORT=true for web and worker, or send the files."
            )
        with self._slot(parse_web_address(address).netloc) as site:
            try:
                return io.BytesIO(self._fetch_with_retry(site, address))
            except BodyTooLarge as error:
                raise ImageTooLarge(
                    f"{address[:200]!r} is larger than {self.max_bytes:,} bytes: make it smaller."
                ) from error

    def pause_s(self) -> float:
        """Return the seconds until every site that is skipped may be asked again."""
        with self._lock:
            sites = list(self._sites.values())
        now = self.clock()
        pauses = [max(site.asked_after - now, site.cool_down.left_s()) for site in sites]
        return max(0.0, max(pauses, default=0.0))

    def _fetch_with_retry(self, site: _Site, address: str) -> bytes:
        try:
            return self._fetch(site, address, _DEADLINES_S[0])
        except HttpStatusError as error:
            if error.status not in _RETRIED_STATUSES:
                raise
            self._wait(site, error.retry_after_s)
        except Unreachable:
            pass
        return self._fetch(site, address, _DEADLINES_S[1])

    def _wait(self, site: _Site, retry_after_s: float | None) -> None:
        """Wait as long as the server says, with all requests to it; raise if that is too long."""
        pause_s = _DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s
        if pause_s > _MAX_PAUSE_S:
            site.asked_after = max(site.asked_after, self.clock() + min(pause_s, _MAX_SKIP_S))
            raise Unreachable(f"The site asks for a pause of {pause_s:,.0f} s: import again after that.")
        site.asked_after = max(site.asked_after, self.clock() + pause_s)
        self.sleep(pause_s)

    def _fetch(self, site: _Site, address: str, deadline_s: float) -> bytes:
        try:
            data = self.fetch(address, self.max_bytes, deadline_s)
        except HttpStatusError:
            site.cool_down.record_success()  # it answered: one page that fails is no dead site
            raise
        except Unreachable:
            site.cool_down.record_failure()
            raise
        site.cool_down.record_success()
        return data

    @contextmanager
    def _slot(self, host: str) -> Iterator[_Site]:
        with self._lock:
            if host not in self._sites:
                self._sites[host] = _Site(CoolDown(_COOL_DOWN_S, _MAX_FAILURES, self.clock))
            site = self._sites[host]
        with site.slots:
            if site.cool_down.is_active():
                raise Unreachable(
                    f"{host} failed {_MAX_FAILURES} times in a row: it is skipped for {_COOL_DOWN_S:.0f} s."
                )
            if (pause_s := site.asked_after - self.clock()) > _MAX_PAUSE_S:
                raise Unreachable(f"{host} asked for a pause, which ends in {pause_s:,.0f} s: import again.")
            if pause_s > 0:
                self.sleep(pause_s)
            yield site


@dataclass(frozen=True)
class WithAddresses:
    """A source whose manifest may also name images by web and S3 addresses.

    Args:
        inner: source of all other names.
        fetcher: fetches web addresses.
        read_s3: reads an object, given its ``s3://`` address.
        s3_roots: prefixes under which ``s3://`` addresses may be read.
        base: web address of the manifest, if it has one; other names are relative to it.
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

    def unread(self) -> Iterator[UnreadFile]:
        """Yield the files that the inner source cannot name."""
        return unread_files(self.inner)

    def open(self, name: str) -> BinaryIO:
        """Open a file, an S3 object or a web address. Raises as ``Fetcher.open`` and the inner source."""
        if self.base is not None and "://" not in name and name != self.inner.manifest:
            name = join_address(self.base, name)
        if name.startswith(_WEB):
            return self.fetcher.open(name)
        if not name.startswith(S3):
            return self.inner.open(name)
        if not is_under_s3_roots(name, self.s3_roots):
            raise Refused(f"{name[:200]!r} is not under the import roots (VITRINE_JOBS__IMPORT_ROOTS).")
        return self.read_s3(name)
