"""How often one account or address may do something."""

import pytest

from hutong.config import Limits, Rate
from hutong.errors import LimitExceeded
from hutong.http.limits import RateLimiter, rule_for
from hutong.http.request import Caller
from hutong.ids import AccountNo, CellNo, DeviceNo

ALICE = Caller(CellNo(256), AccountNo(1), DeviceNo(1), b"")
ALICE_PHONE = Caller(CellNo(256), AccountNo(1), DeviceNo(2), b"")
NAMESAKE_ABROAD = Caller(CellNo(512), AccountNo(1), DeviceNo(1), b"")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(Limits(send=Rate(2, 3), read=Rate(2, 3), login=Rate(0.1, 2)), b"secret", clock, keys_max=100)


def passes(limiter: RateLimiter, rule: str, caller: Caller | None = None, address: str = "192.0.2.1") -> int:
    """How many requests pass until one is refused."""
    for count in range(1_000):
        try:
            limiter.check(rule, caller, address)
        except LimitExceeded:
            return count
    return 1_000


def test_a_burst_passes_and_then_what_the_rate_allows(limiter: RateLimiter, clock: Clock) -> None:
    assert passes(limiter, "send", ALICE) == 3
    clock.now += 1
    assert passes(limiter, "send", ALICE) == 2
    clock.now += 1_000
    assert passes(limiter, "send", ALICE) == 3


def test_who_waits_as_long_as_told_passes(limiter: RateLimiter, clock: Clock) -> None:
    passes(limiter, "login")
    with pytest.raises(LimitExceeded) as refused:
        limiter.check("login", None, "192.0.2.1")
    clock.now += refused.value.retry_after_ms / 1000
    limiter.check("login", None, "192.0.2.1")


def test_a_refused_request_does_not_push_the_next_one_back(limiter: RateLimiter, clock: Clock) -> None:
    passes(limiter, "send", ALICE)
    for _ in range(50):
        assert passes(limiter, "send", ALICE) == 0
    clock.now += 0.5
    assert passes(limiter, "send", ALICE) == 1


def test_the_devices_of_an_account_share_and_accounts_and_rules_do_not(limiter: RateLimiter) -> None:
    assert passes(limiter, "send", ALICE) == 3
    assert passes(limiter, "send", ALICE_PHONE) == 0
    assert passes(limiter, "send", NAMESAKE_ABROAD) == 3
    assert passes(limiter, "read", ALICE) == 3


def test_logging_in_is_counted_by_address_whoever_calls(limiter: RateLimiter) -> None:
    assert passes(limiter, "login", ALICE) == 2
    assert passes(limiter, "login", NAMESAKE_ABROAD) == 0
    assert passes(limiter, "login", None, "192.0.2.2") == 2


def test_one_ipv6_site_is_one_address(limiter: RateLimiter) -> None:
    assert passes(limiter, "login", None, "2001:db8::1") == 2
    assert passes(limiter, "login", None, "2001:db8::ffff:1") == 0
    assert passes(limiter, "login", None, "2001:db8:0:1::1") == 2


def test_memory_is_bounded_and_holds_no_address(limiter: RateLimiter) -> None:
    for number in range(1_000):
        limiter.check("read", None, f"192.0.2.{number}")
    assert len(limiter._due) == 100
    assert "192.0.2" not in repr(limiter._due)


@pytest.mark.parametrize(
    ("method", "template", "rule"),
    [
        ("PUT", "/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}", "send"),
        ("PUT", "/_matrix/client/v3/rooms/{room}/state/{type}/{key}", "send"),
        ("GET", "/_matrix/client/v3/rooms/{room_id}/state/{event_type}", "read"),
        ("POST", "/_matrix/client/v3/login", "login"),
        ("GET", "/_matrix/client/v3/login", "read"),
        ("POST", "/_matrix/client/v3/register", "register"),
        ("POST", "/_matrix/client/v3/createRoom", "create_room"),
        ("POST", "/_matrix/client/v3/join/{room}", "join"),
        ("GET", "/_matrix/client/v3/sync", "read"),
        ("GET", "/", "read"),
    ],
)
def test_which_rate_an_endpoint_falls_under(method: str, template: str, rule: str) -> None:
    assert rule_for(method, template) == rule
