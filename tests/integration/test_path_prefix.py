"""Vitrine below a path of the shop's host, behind a real proxy that strips the path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests import builders
from tests.prefix_proxy import serving_below
from tests.showroom import Showroom, things
from web.http.path_prefix import read_prefix

KEY = "k" * 32
#: The second one is also the path of a page, and the third has several parts.
PREFIXES = ["/suche", "/s", "/shop/v1"]
_ATTRIBUTES = {"href", "src", "action", "formaction", "data-events", "poster"}


class Addresses(HTMLParser):
    """The addresses in a page: those to open, and those of forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.forms: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in _ATTRIBUTES and value:
                (self.forms if "action" in name else self.links).add(value)
            elif name == "srcset" and value:
                self.links.update(each.split()[0] for each in value.split(","))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    settings = {"proxies": 1, "api_key": KEY}
    with Showroom(tmp_path_factory.mktemp("prefix"), things(6), web=settings) as room:
        yield room


@pytest.fixture(params=PREFIXES)
def site(request: pytest.FixtureRequest, room: Showroom) -> Iterator[str]:
    with serving_below(request.param, room.url) as address:
        yield address


def sign_in(site: str) -> httpx.Client:
    browser = httpx.Client(headers={"Accept": "text/html"}, timeout=30)
    answer = browser.post(f"{site}/sign-in", data={"key": KEY, "next": "/manage"})
    assert answer.headers["Location"] == f"{urlsplit(site).path}/manage"
    assert f"Path={urlsplit(site).path};" in answer.headers["Set-Cookie"] + ";"
    return browser


def search(site: str, browser: httpx.Client) -> str:
    """Search as the page without scripts does; return the address of the result."""
    photo = builders.jpeg(seed=1, width=200, height=160)
    answer = browser.post(f"{site}/s", data={"catalogue": "demo"}, files={"image": ("a.jpg", photo)})
    address = urljoin(site, answer.headers["Location"])
    for _ in range(200):
        if 'data-state="done"' in browser.get(address).text:
            return address
    raise AssertionError("The search did not end.")


def walk(site: str, browser: httpx.Client, starts: list[str], most: int = 150) -> dict[str, set[str]]:
    """Open pages and what they need; return the addresses that leave the path, by page."""
    prefix = urlsplit(site).path + "/"
    waiting, seen, outside = list(starts), set(starts), {}
    while waiting and len(seen) < most:
        page = waiting.pop(0)
        answer = browser.get(page, follow_redirects=True)
        assert answer.status_code == 200, f"{page}: {answer.status_code}"
        if answer.headers["Content-Type"].split(";")[0] != "text/html":
            continue
        found = Addresses(answer.text)
        local = {each for each in found.links | found.forms if each.startswith("/")}
        if wrong := {each for each in local if not each.startswith(prefix) and each + "/" != prefix}:
            outside[page] = wrong
        for link in sorted(found.links):
            address = urljoin(page, link).partition("#")[0]
            kind = re.sub(r"lang=[\w-]+|[0-9a-f-]{12,}|thing-\d+|size=\d+", "", address)
            if address.startswith(site) and kind not in seen:
                seen.add(kind)
                waiting.append(address)
    return outside


def test_every_address_of_the_pages_has_the_path(site: str) -> None:
    with closing(sign_in(site)) as browser:
        result = search(site, browser)
        starts = [
            f"{site}/",
            result,
            f"{site}/manage",
            f"{site}/operations",
            f"{site}/docs",
            f"{site}/offline",
        ]
        assert walk(site, browser, starts) == {}


def test_the_walk_notices_a_proxy_that_does_not_name_its_path(room: Showroom) -> None:
    with serving_below("/suche", room.url, named=False) as site, httpx.Client(timeout=30) as browser:
        browser.headers.update({"Accept": "text/html", "Authorization": f"Bearer {KEY}"})
        assert walk(site, browser, [f"{site}/"])


def test_addresses_of_scripts_manifest_and_api(site: str) -> None:
    prefix = urlsplit(site).path
    with closing(sign_in(site)) as browser:
        manifest = browser.get(f"{site}/manifest.webmanifest").json()
        assert {manifest[name] for name in ("id", "start_url", "scope")} == {f"{prefix}/"}
        for address in (manifest["share_target"]["action"], *(icon["src"] for icon in manifest["icons"])):
            assert address.startswith(f"{prefix}/")
        worker = browser.get(f"{site}/sw.js").text
        files = re.findall(r'"(/[^"]*)"', worker)
        assert len(files) > 10
        assert all(each.startswith(prefix) for each in files), files
        assert browser.get(f"{site}/openapi.json").json()["servers"] == [{"url": prefix}]
        home = browser.get(f"{site}/").text
        assert f'data-root="{prefix}"' in home
        choice = browser.get(f"{site}/?lang=de").headers.get_list("Set-Cookie")
        assert choice
        assert all(f"Path={prefix}" in each.split("; ") for each in choice)

        photo = builders.jpeg(seed=1, width=200, height=160)
        asked = browser.post(
            f"{site}/v1/searches",
            data={"catalogue": "demo"},
            files={"image": ("a.jpg", photo)},
            headers={"Prefer": "wait=20", "Accept": "application/json"},
        )
        assert asked.headers["Location"].startswith(f"{prefix}/v1/tasks/")
        task = browser.get(urljoin(site, asked.headers["Location"])).json()
        events = browser.get(f"{site}/v1/tasks/{task['id']}/events").text
        product = browser.get(f"{site}/v1/catalogues/demo/products/thing-1").json()
        addresses = [hit["image_url"] for hit in task["result"]["whole"]["hits"]]
        addresses += [image["url"] for image in product["images"]]
        addresses += re.findall(r'"image_url": "(.*?)"', events)
        assert len(addresses) > 12
        assert {each.startswith(f"{prefix}/v1/images/") for each in addresses} == {True}
        assert browser.get(urljoin(site, addresses[0])).headers["Content-Type"] == "image/webp"
        # The shop's own address of a product is not Vitrine's.
        assert product["url"] == "https://shop.example/thing"


def test_ended_sessions_lead_back_below_the_path(site: str) -> None:
    prefix = urlsplit(site).path
    with httpx.Client(headers={"Accept": "text/html"}, timeout=30) as browser:
        page = browser.get(f"{site}/manage/jobs?catalogue=demo")
        assert page.status_code == 401
        (next_path,) = re.findall(r'name="next" value="([^"]*)"', page.text)
        answer = browser.post(f"{site}/sign-in", data={"key": KEY, "next": next_path})
        assert answer.headers["Location"] == f"{prefix}/manage/jobs?catalogue=demo"
        out = browser.post(f"{site}/sign-out")
        assert out.headers["Location"] == f"{prefix}/sign-in"
        assert f"Path={prefix}" in out.headers["Set-Cookie"].split("; ")


@pytest.mark.parametrize(
    ("header", "hops", "prefix"),
    [
        ("/suche", 1, "/suche"),
        ("/suche/", 1, "/suche"),
        ("suche", 1, "/suche"),
        ("/", 1, ""),
        ("", 1, ""),
        ("/forged, /suche", 1, "/suche"),
        ("/a, /b", 2, "/a/b"),
        ("//evil.example", 1, "/evil.example"),
        ("/a/../b", 1, ""),
        ('/a"><script>', 1, ""),
        ("/a b", 1, ""),
        ("/a\\b", 1, ""),
        ("https://evil.example", 1, ""),
        ("/%2e%2e", 1, ""),
        ("/" + "a" * 300, 1, ""),
    ],
)
def test_read_prefix(header: str, hops: int, prefix: str) -> None:
    assert read_prefix(header, hops) == prefix


def test_without_trusted_proxies_the_header_means_nothing(tmp_path: Path) -> None:
    with Showroom(tmp_path, things(1)) as room:
        answer = httpx.get(room.url, headers={"X-Forwarded-Prefix": "/suche"})
    assert "/suche" not in answer.text
