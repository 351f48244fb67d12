"""Count, limit and log wrong API keys by address.

The right key always works, also from an address whose wrong keys are answered 429: otherwise a stranger
behind the same proxy or router could lock the owner out. Guessing is ruled out by the key's length; the
limit keeps the attempts cheap and the log shows them.
"""

from __future__ import annotations

import ipaddress

from shared.broker.rate_counter import RateCounter
from shared.process.log import get_logger
from shared.process.metrics import AUTH_FAILURES

log = get_logger("vitrine.web")

#: Wrong keys of one address in a minute before they are answered 429.
WRONG_KEYS_PER_MINUTE = 30
WRONG_SIGN_INS_PER_MINUTE = 10
#: One subscriber has a whole IPv6 network of this length.
_IPV6_NETWORK_BITS = 64


class WrongKeys:
    """Counts the wrong keys of one way in.

    Args:
        counter: counts by address, across all web processes.
        how: label of the metric: ``bearer`` or ``sign_in``.
    """

    def __init__(self, counter: RateCounter, how: str) -> None:
        self._counter = counter
        self._how = how
        AUTH_FAILURES.labels(how)

    def count(self, address: str | None) -> int | None:
        """Count and log one wrong key; return the seconds to wait once the address is over its limit."""
        AUTH_FAILURES.labels(self._how).inc()
        count, wait_s = self._counter.tally(network_of(address or ""))
        # Over the limit one line for each doubling: a flood of guesses must not become a flood of lines.
        if wait_s is None or count & (count - 1) == 0:
            log.warning("wrong API key", address=address, how=self._how, count_in_this_minute=count)
        return wait_s


def network_of(address: str) -> str:
    """Return what one caller is counted as: an IPv4 address, or an IPv6 /64 network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False))
    return str(found)
