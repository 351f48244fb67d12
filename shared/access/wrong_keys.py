"""Count, limit and log wrong and refused API keys by address.

The right key always works, also from an address whose wrong keys are answered with 429. Otherwise a stranger
behind the same proxy or router could lock the owner out. The length of the key prevents guessing; the limit
keeps attempts cheap, and the log shows them.
"""

from __future__ import annotations

import ipaddress

from shared.broker.rate_counter import RateCounter
from shared.process.log import get_logger
from shared.process.metrics import AUTH_FAILURES

log = get_logger("vitrine.web")

#: Maximum number of wrong keys and sign-ins per address and minute; above it, they are answered with 429.
WRONG_KEYS_PER_MINUTE = 30
WRONG_SIGN_INS_PER_MINUTE = 10
#: Why a key that is right is refused: labels of the metric.
REFUSALS = ("expired", "revoked", "foreign_origin", "in_url")
#: A subscriber has an IPv6 network with this prefix length.
_IPV6_NETWORK_BITS = 64


class WrongKeys:
    """Counts the wrong keys of one authentication method.

    Args:
        counter: counts by address over all web processes.
        how: label of the metric: ``bearer``, ``sign_in``, or one of ``REFUSALS``.
    """

    def __init__(self, counter: RateCounter, how: str) -> None:
        self._counter = counter
        self._how = how
        AUTH_FAILURES.labels(how)

    def count(self, address: str | None) -> int | None:
        """Count and log a wrong key; return None, or the seconds to wait if the address is over its limit."""
        AUTH_FAILURES.labels(self._how).inc()
        count, wait_s = self._counter.tally(network_of(address or ""))
        # Over the limit, only doublings are logged: a flood of guesses must not flood the log.
        if wait_s is None or count & (count - 1) == 0:
            event = "API key refused" if self._how in REFUSALS else "wrong API key"
            log.warning(event, address=address, how=self._how, count_in_this_minute=count)
        return wait_s


def network_of(address: str) -> str:
    """Return the unit of counting of an address: the IPv4 address, or its IPv6 /64 network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False))
    return str(found)
