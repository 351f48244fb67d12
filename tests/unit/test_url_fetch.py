"""Row B15: no address leads this server into a private network, in whatever disguise."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput, Refused
from shared.net.url_fetch import is_public, resolve, resolve_target

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "not an address", "192.88.99.1", "192.0.0.9", "192.0.2.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "0.1.2.3", "3fff::1", "3fff:fff::1", "2001:db8::1", "2001:20::1",
        "64:ff9b:1::1", "100::1", "5f00::1", "4000::1", "::ffff:192.88.99.1", "2001:0:4136:e378::1",
    ],
)  # fmt: skip
def test_private_and_disguised_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1", "2a00:1450::1", "::ffff:93.184.216.34"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0/",
        "http://localhost/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_every_spelling_of_loopback_is_refused_by_the_real_resolver(url: str) -> None:
    with pytest.raises((Refused, InvalidInput)):
        resolve_target(url, resolve)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/x", "http://example.com:22/", "https://example.com:80/",
        "http://user:pass@example.com/", "gopher://example.com/", "//example.com/x", "http://", "nonsense",
    ],
)  # fmt: skip
def test_other_schemes_ports_and_logins_are_refused(url: str) -> None:
    with pytest.raises((Refused, InvalidInput)):
        resolve_target(url, lambda host, port: [PUBLIC])


def test_one_private_answer_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(Refused):
        resolve_target("https://rebinding.example/x.jpg", lambda host, port: [PUBLIC, "10.0.0.7"])


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    target = resolve_target("https://shop.example/x.jpg", lambda host, port: [PUBLIC])
    assert (target.url.host, target.address) == ("shop.example", PUBLIC)
