"""From a request to an endpoint and back: routes, authentication, rate limits, errors. No business rules.

CORS headers are not set here: the connection puts them on every answer, also on those that never get this far
(`protocol.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import falcon
import falcon.asgi

from hutong.errors import MatrixError, MissingToken, Unavailable, UnknownToken, Unrecognized
from hutong.http.failures import error_body, retry_after, where
from hutong.http.limits import RateLimiter, rule_for
from hutong.http.request import JSON_BYTES_MAX, Caller, Request, Response, client_address, on_disconnect, request_region
from hutong.ids import CellNo

log = logging.getLogger("hutong.http")

METHODS = ("GET", "POST", "PUT", "DELETE")
PREFLIGHT_SECONDS = "86400"
UNMATCHED = "unmatched"

Observe = Callable[[str, str, int, str, float], None]
"""Told of each answer: route template, method, status, region or `none`, seconds."""


@dataclass(frozen=True)
class Rule:
    """What an endpoint asks for before it is called."""

    auth: bool | str  # True, False or "optional"
    limit: str
    waits: bool


def build_app(
    routes: Iterable[tuple[str, object]],
    authenticate: Callable[[str], Awaitable[Caller]],
    *,
    authenticate_cached: Callable[[str], Caller | None] | None = None,
    hosts: Mapping[str, str] | None = None,
    limiter: RateLimiter | None = None,
    observe: Observe | None = None,
    json_bytes_max: int = JSON_BYTES_MAX,
    region_name: Callable[[CellNo], str] = str,
    clock: Callable[[], float] = perf_counter,
    engine_errors: Mapping[type[Exception], str] | None = None,
) -> falcon.asgi.App[Request, Response]:
    """The application that answers `routes`: pairs of a path template and a resource with `on_get`, `on_put` ...

    A resource that needs no access token says `auth = False`, one that takes callers with and without says
    `auth = "optional"`; `auth = {"GET": False}` says it for single methods. `waits = True`: its GET is a long poll,
    which is cancelled when its client goes or the server stops. Parameters of a path arrive decoded, with slashes; one
    at the same place of several templates has the same name in all of them.

    `authenticate` turns an access token into a Caller or raises; `authenticate_cached` may answer first, without a task
    switch. `hosts` maps host names to regions. `json_bytes_max` is for bodies whose endpoint names no limit.
    `region_name` and `clock` (seconds) serve `observe`. `engine_errors`: what an engine that is away raises, and what
    a client is told then (503).
    """
    lower = {host.lower(): region for host, region in (hosts or {}).items()}
    edge = Edge(authenticate, authenticate_cached, lower, limiter, observe, json_bytes_max, region_name, clock)
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App(
        request_type=Request, response_type=Response, middleware=[edge]
    )
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _framework)
    app.add_error_handler(MatrixError, _told)
    for kind, told in (engine_errors or {}).items():
        app.add_error_handler(kind, _engine_away(told))
    for template, resource in routes:
        edge.rules[template] = _rules(template, resource)
        app.add_route(template, resource)
    return app


def _rules(template: str, resource: object) -> dict[str, Rule]:
    asked = getattr(resource, "auth", True)
    rules = {}
    for method in METHODS:
        if hasattr(resource, f"on_{method.lower()}"):
            auth = asked.get(method, True) if isinstance(asked, Mapping) else asked
            waits = method == "GET" and getattr(resource, "waits", False)
            rules[method] = Rule(auth, rule_for(method, template), waits)
    assert rules, f"{template}: the resource answers no method"
    return rules


class Edge:
    """What happens around every endpoint, in the order of the methods below."""

    def __init__(
        self,
        authenticate: Callable[[str], Awaitable[Caller]],
        authenticate_cached: Callable[[str], Caller | None] | None,
        hosts: Mapping[str, str],
        limiter: RateLimiter | None,
        observe: Observe | None,
        json_bytes_max: int,
        region_name: Callable[[CellNo], str],
        clock: Callable[[], float],
    ) -> None:
        self.rules: dict[str, dict[str, Rule]] = {}
        self._authenticate = authenticate
        self._authenticate_cached = authenticate_cached
        self._hosts = hosts
        self._limiter = limiter
        self._observe = observe
        self._json_bytes_max = json_bytes_max
        self._region_name = region_name
        self._clock = clock

    async def process_request(self, req: Request, resp: Response) -> None:
        req.started = self._clock()
        req.region_hosts = self._hosts
        req.json_bytes_max = self._json_bytes_max
        if req.method == "OPTIONS":
            # No endpoint's logic may run. Also for paths that are not served, or a browser could not read the 404.
            resp.status = falcon.HTTP_204
            resp.set_header("access-control-max-age", PREFLIGHT_SECONDS)
            resp.complete = True
        elif req.refusal is not None:
            raise req.refusal

    async def process_resource(self, req: Request, resp: Response, resource: object, params: dict[str, Any]) -> None:
        rules = self.rules[req.uri_template or ""]
        rule = rules.get(req.method)
        if rule is None:
            resp.set_header("allow", ", ".join((*rules, "OPTIONS")))
            raise Unrecognized(f"{req.method}: not with this method; {' or '.join(rules)}", status=405)
        if rule.auth is not False:
            token = access_token(req)
            if token is not None:
                req.caller = await self._caller(req, token)
            elif rule.auth is True:
                raise MissingToken("access token: is missing; send it as `Authorization: Bearer ...`")
        if self._limiter is not None:
            self._limiter.check(rule.limit, req.caller, client_address(req))
        req.mend(params)
        if rule.waits and (task := asyncio.current_task()) is not None:
            on_disconnect(req, task.cancel)

    async def _caller(self, req: Request, token: str) -> Caller:
        cached = self._authenticate_cached(token) if self._authenticate_cached is not None else None
        if cached is not None:
            return cached
        try:
            return await self._authenticate(token)
        except UnknownToken:
            if self._limiter is not None:
                self._limiter.check("read", None, client_address(req))  # guessing costs look-ups
            raise

    async def process_response(self, req: Request, resp: Response, resource: object, req_succeeded: bool) -> None:
        if resp.get_header("cache-control") is None:
            resp.set_header("cache-control", "no-store")  # no browser keeps on its disk what people wrote
        if self._observe is not None:
            region = self._region_name(req.caller.cell) if req.caller is not None else request_region(req) or "none"
            seconds = self._clock() - req.started
            self._observe(req.uri_template or UNMATCHED, req.method, resp.status_code, region, seconds)


def access_token(req: Request) -> str | None:
    """The access token that came with a request: in the header, or in the query as old clients send it."""
    header = req.auth
    if header is not None:
        scheme, _, token = header.partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None
    value = req.params.get("access_token")
    return value if isinstance(value, str) else None


def error_answer(resp: Response, error: MatrixError) -> None:
    """Put `error` into the answer, with `Retry-After` where it says when to come back."""
    resp.status = error.status
    resp.data = error_body(error)
    if (seconds := retry_after(error)) is not None:
        resp.set_header("retry-after", seconds)


async def _told(req: Request, resp: Response, error: MatrixError, params: dict[str, Any]) -> None:
    error_answer(resp, error)


async def _framework(req: Request, resp: Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    """What the router raises by itself: nothing is served there."""
    if isinstance(error, falcon.HTTPNotFound):
        error_answer(resp, Unrecognized("path: nothing is served here"))
    else:
        error_answer(resp, MatrixError(error.title or "the request cannot be understood", status=error.status_code))


def _engine_away(told: str) -> Any:
    """The handler for an engine that is away for a moment: the client may try the same again."""

    async def handle(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
        # Whoever looks after the engine says so in the log, once; here every request would.
        log.debug("%s %s must be tried again: %s", req.method, req.uri_template or UNMATCHED, where(error))
        error_answer(resp, Unavailable(told))

    return handle


async def _unexpected(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    log.error("%s %s failed: %s", req.method, req.uri_template or UNMATCHED, where(error))
    error_answer(resp, MatrixError("something went wrong on the server; the operator's log says where", status=500))
