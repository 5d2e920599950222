"""From a request to an endpoint and back: the application, for everything that does not go the short way of `hot.py`.

CORS headers are not set here: the connection puts them on every answer, also on those that never get this far
(`protocol.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

import falcon
import falcon.asgi
from falcon.routing import CompiledRouter

from hutong.errors import MatrixError, MissingToken, Unrecognized
from hutong.http.edge import UNMATCHED, Edge, Observe, Rule, bearer
from hutong.http.failures import error_body, retry_after
from hutong.http.hot import HotRoutes
from hutong.http.limits import RateLimiter, rule_for
from hutong.http.request import JSON_BYTES_MAX, Caller, Request, Response, client_address, on_disconnect, request_region
from hutong.ids import CellNo

METHODS = ("GET", "POST", "PUT", "DELETE")
PREFLIGHT_SECONDS = "86400"


class Application(falcon.asgi.App[Request, Response]):
    """All routes; `hot`: those of them that may be answered without it."""

    hot: HotRoutes


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
) -> Application:
    """The application that answers `routes`: pairs of a path template and a resource with `on_get`, `on_put` ...

    A resource that needs no access token says `auth = False`, one that takes callers with and without says
    `auth = "optional"`; `auth = {"GET": False}` says it for single methods. `waits = True`: its GET is a long poll,
    which is cancelled when its client goes or the server stops. Parameters of a path arrive decoded, with slashes; one
    at the same place of several templates has the same name in all of them. A resource that is asked often has
    `hot_get`, `hot_put` ... instead: see `call.py`.

    `authenticate` turns an access token into a Caller or raises; `authenticate_cached` may answer first, without a task
    switch. `hosts` maps host names to regions. `json_bytes_max` is for bodies whose endpoint names no limit.
    `region_name` and `clock` (seconds) serve `observe`. `engine_errors`: what an engine that is away raises, and what
    a client is told then (503).
    """
    edge = Edge(
        authenticate=authenticate,
        authenticate_cached=authenticate_cached,
        hosts={host.lower(): region for host, region in (hosts or {}).items()},
        limiter=limiter,
        observe=observe,
        json_bytes_max=json_bytes_max,
        region_name=region_name,
        clock=clock,
        engine_errors=engine_errors or {},
    )
    router, around = CompiledRouter(), Around(edge)
    app = Application(request_type=Request, response_type=Response, middleware=[around], router=router)
    app.hot = HotRoutes(edge, router)
    app.add_error_handler(Exception, around.failed)
    app.add_error_handler(falcon.HTTPError, _framework)
    for template, resource in routes:
        around.rules[template] = _rules(template, resource)
        app.add_route(template, resource)
        app.hot.add(template, resource, around.rules[template])
    return app


def _rules(template: str, resource: object) -> dict[str, Rule]:
    """The rule of each method that `resource` answers."""
    asked = getattr(resource, "auth", True)
    rules = {}
    for method in METHODS:
        if hasattr(resource, f"on_{method.lower()}"):
            auth = asked.get(method, True) if isinstance(asked, Mapping) else asked
            waits = method == "GET" and getattr(resource, "waits", False)
            rules[method] = Rule(auth, rule_for(method, template), waits)
    assert rules, f"{template}: the resource answers no method"
    return rules


class Around:
    """What the application does around every endpoint, in the order of the methods below."""

    def __init__(self, edge: Edge) -> None:
        self.rules: dict[str, dict[str, Rule]] = {}
        self._edge = edge

    async def process_request(self, req: Request, resp: Response) -> None:
        req.started = self._edge.clock()
        req.region_hosts = self._edge.hosts
        req.json_bytes_max = self._edge.json_bytes_max
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
                req.caller = await self._edge.caller(token, client_address(req))
            elif rule.auth is True:
                raise MissingToken("access token: is missing; send it as `Authorization: Bearer ...`")
        self._edge.limit(rule, req.caller, client_address(req))
        req.mend(params)
        if rule.waits and (task := asyncio.current_task()) is not None:
            on_disconnect(req, task.cancel)

    async def process_response(self, req: Request, resp: Response, resource: object, req_succeeded: bool) -> None:
        if resp.get_header("cache-control") is None:
            resp.set_header("cache-control", "no-store")  # no browser keeps on its disk what people wrote
        template = req.uri_template or UNMATCHED
        region = None if req.caller is not None else request_region(req)
        self._edge.answered(template, req.method, resp.status_code, req.caller, region, req.started)

    async def failed(self, req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
        error_answer(resp, self._edge.told(error, req.method, req.uri_template or UNMATCHED))


def access_token(req: Request) -> str | None:
    """The access token that came with a request: in the header, or in the query as old clients send it."""
    header = req.auth
    if header is not None:
        return bearer(header)
    value = req.params.get("access_token")
    return value if isinstance(value, str) else None


def error_answer(resp: Response, error: MatrixError) -> None:
    """Put `error` into the answer, with `Retry-After` where it says when to come back."""
    resp.status = error.status
    resp.data = error_body(error)
    if (seconds := retry_after(error)) is not None:
        resp.set_header("retry-after", seconds)


async def _framework(req: Request, resp: Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    """What the router raises by itself: nothing is served there."""
    if isinstance(error, falcon.HTTPNotFound):
        error_answer(resp, Unrecognized("path: nothing is served here"))
    else:
        error_answer(resp, MatrixError(error.title or "the request cannot be understood", status=error.status_code))
