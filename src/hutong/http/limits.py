"""How often one account or one address may do something. In memory only, bounded, lost with the process.

Each rule lets `burst` requests pass at once and then `per_second` of them. What is remembered is one number per key and
rule: when the next request would be due if all had come evenly (the generic cell rate algorithm).
"""

import ipaddress
import math
from collections.abc import Callable, Mapping
from hashlib import blake2b

from hutong.config import Limits, Rate
from hutong.errors import LimitExceeded
from hutong.http.request import Caller

KEYS_MAX = 100_000
IPV6_SITE_BITS = 64  # whoever has one IPv6 address has its whole /64


_CLIENT = "/_matrix/client/v3/"
_RULES: Mapping[tuple[str, str], str] = {
    ("POST", "login"): "login",
    ("POST", "refresh"): "login",
    ("POST", "account/password"): "login",
    ("POST", "account/deactivate"): "login",
    ("POST", "register"): "register",
    ("POST", "createRoom"): "create_room",
    ("POST", "join/{}"): "join",
    ("POST", "rooms/{}/join"): "join",
    ("PUT", "directory/room/{}"): "create_room",
    ("DELETE", "directory/room/{}"): "send",
    ("PUT", "directory/list/room/{}"): "send",
    ("POST", "rooms/{}/invite"): "join",
    ("PUT", "rooms/{}/send/{}/{}"): "send",
    ("PUT", "rooms/{}/state/{}"): "send",
    ("PUT", "rooms/{}/state/{}/{}"): "send",
    ("PUT", "rooms/{}/redact/{}/{}"): "send",
}
"""Which of the rates in `config.Limits` an endpoint falls under; any other is a `read`."""
_BY_ADDRESS = {"login", "register"}


def rule_for(method: str, template: str) -> str:
    """The name of the rate that an endpoint falls under; `template` is its route."""
    if template.startswith(_CLIENT):
        segments = template[len(_CLIENT) :].split("/")
        shape = "/".join("{}" if segment.startswith("{") else segment for segment in segments)
        if rule := _RULES.get((method, shape)):
            return rule
    return "read"


class RateLimiter:
    """Counts, and refuses what is too much.

    Logging in and registering are counted by address, all else by account, or by address when nobody says who calls.
    `secret` keys the hash under which addresses are counted, so that memory holds none in clear.
    Cost: one look-up and one hash of a short text for addresses; about 1 µs.
    """

    def __init__(self, limits: Limits, secret: bytes, clock: Callable[[], float], keys_max: int = KEYS_MAX) -> None:
        self._rates: dict[str, Rate] = {name: getattr(limits, name) for name in (*_RULES.values(), "read")}
        self._secret = secret
        self._clock = clock
        self._keys_max = keys_max
        self._due: dict[tuple[str, object], float] = {}

    def check(self, rule: str, caller: Caller | None, address: str) -> None:
        """Count one request. Raises: LimitExceeded (429) saying when to come back."""
        if caller is None or rule in _BY_ADDRESS:
            self.count(rule, self.address_key(address))
        else:
            self.count(rule, (caller.cell, caller.account))

    def count(self, rule: str, key: object) -> None:
        """Count one for `key`, of which nothing but the hash or number given is remembered. Raises: LimitExceeded."""
        rate = self._rates[rule]
        now = self._clock()
        entry = (rule, key)
        due = max(self._due.pop(entry, now), now)
        early = due - now - (rate.burst - 1) / rate.per_second
        # Out and in again: the oldest entry is always the first, and it is the one to go when there are too many.
        self._due[entry] = due if early > 0 else due + 1 / rate.per_second
        if len(self._due) > self._keys_max:
            del self._due[next(iter(self._due))]
        if early > 0:
            wait_ms = math.ceil(early * 1000)
            raise LimitExceeded(f"too many requests of the kind `{rule}`; try again later", retry_after_ms=wait_ms)

    def address_key(self, address: str) -> bytes:
        """What stands for an address in memory."""
        if ":" in address:
            try:
                network = ipaddress.ip_network((address.partition("%")[0], IPV6_SITE_BITS), strict=False)
                address = str(network.network_address)
            except ValueError:
                pass  # no address at all (a socket without one): counted under what it says
        return blake2b(address.encode(), key=self._secret, digest_size=8).digest()
