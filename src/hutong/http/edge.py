"""What happens around every endpoint: who calls, how often they may, what errors become, what is counted.

One object, asked by the short way of hot requests and by the application's for all others. No business rules.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from hutong.errors import MatrixError, Unavailable, UnknownToken
from hutong.http.failures import mistake, where
from hutong.http.limits import RateLimiter
from hutong.http.request import JSON_BYTES_MAX, Caller
from hutong.ids import CellNo

log = logging.getLogger("hutong.http")

UNMATCHED = "unmatched"

Observe = Callable[[str, str, int, str, float], None]
"""Told of each answer: route template, method, status, region or `none`, seconds."""


@dataclass(frozen=True)
class Rule:
    """What an endpoint asks for before it is called."""

    auth: bool | str  # True, False or "optional"
    limit: str
    waits: bool


@dataclass(frozen=True, kw_only=True)
class Edge:
    """`region_name` and `clock` (seconds) serve `observe`. `engine_errors`: what an engine that is away raises, and
    what a client is told then (503)."""

    authenticate: Callable[[str], Awaitable[Caller]]
    authenticate_cached: Callable[[str], Caller | None] | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    limiter: RateLimiter | None = None
    observe: Observe | None = None
    json_bytes_max: int = JSON_BYTES_MAX
    region_name: Callable[[CellNo], str] = str
    clock: Callable[[], float] = perf_counter
    engine_errors: Mapping[type[Exception], str] = field(default_factory=dict)

    def cached(self, token: str) -> Caller | None:
        """Who calls, if that is known without asking the database."""
        return self.authenticate_cached(token) if self.authenticate_cached is not None else None

    async def caller(self, token: str, address: str) -> Caller:
        """Raises: UnknownToken, LimitExceeded."""
        cached = self.cached(token)
        if cached is not None:
            return cached
        try:
            return await self.authenticate(token)
        except UnknownToken:
            if self.limiter is not None:
                self.limiter.check("read", None, address)  # guessing costs look-ups
            raise

    def limit(self, rule: Rule, caller: Caller | None, address: str) -> None:
        """Count the request. Raises: LimitExceeded."""
        if self.limiter is not None:
            self.limiter.check(rule.limit, caller, address)

    def answered(
        self, template: str, method: str, status: int, caller: Caller | None, region: str | None, started: float
    ) -> None:
        """`region`: that of the address the request came to. `started`: the clock then."""
        if self.observe is not None:
            name = self.region_name(caller.cell) if caller is not None else region or "none"
            self.observe(template, method, status, name, self.clock() - started)

    def told(self, error: Exception, method: str, template: str) -> MatrixError:
        """What a client is told of `error`, and what it need not know goes to the log."""
        if isinstance(error, MatrixError):
            return error
        for kind, told in self.engine_errors.items():
            if isinstance(error, kind):
                # Whoever looks after the engine says so in the log, once; here every request would.
                log.debug("%s %s must be tried again: %s", method, template, where(error))
                return Unavailable(told)
        log.error("%s %s failed: %s", method, template, where(error))
        return mistake()


def bearer(header: str) -> str | None:
    """The access token in the value of an `Authorization` header; None when that is something else."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
