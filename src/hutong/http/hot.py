"""The short way: a request that comes often, from its head to its answer, without the application and without a task.

A request goes this way when its route has a hot endpoint and everything about it is usual: HTTP/1.1, a small body of
known length, an access token in its header that is known already. Everything else takes the long way to the same
endpoint (see `call.HotResource`) and gets the same answer.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from falcon.routing import CompiledRouter

from hutong.http.admission import NO_WORK, kind_of
from hutong.http.call import Call, Hot, Outcome, Wait, hot_methods
from hutong.http.edge import Edge, Rule, bearer
from hutong.http.failures import broken_off, error_body, json_answer, retry_after
from hutong.http.request import EVENT_BYTES_MAX, Caller, mend, routed

if TYPE_CHECKING:
    from hutong.http.protocol import Connection
    from hutong.http.reader import Head

LENGTH_DIGITS_MAX = 6


@dataclass(frozen=True)
class HotRoute:
    template: str
    method: str
    hot: Hot
    rule: Rule
    edge: Edge


class HotRoutes:
    """The hot ones among the routes of the application, in its own router."""

    def __init__(self, edge: Edge, router: CompiledRouter) -> None:
        self._edge = edge
        self._router = router
        self._routes: dict[tuple[str, str], HotRoute] = {}

    def add(self, template: str, resource: object, rules: dict[str, Rule]) -> None:
        """Let the hot methods of `resource`, which the router has, go the short way."""
        for method, hot in hot_methods(resource).items():
            assert rules[method].auth is True, f"{template}: the short way is for those who say who they are"
            self._routes[template, method] = HotRoute(template, method, hot, rules[method], self._edge)

    def call(self, connection: "Connection", head: "Head") -> "HotCall | None":
        """The call that a request is; None: it takes the long way."""
        if head.version != "1.1" or head.expects_continue or not head.query.isascii():
            return None
        try:
            path = routed(head.path)
        except UnicodeDecodeError:
            return None
        found = self._router.find(path)
        route = None if found is None else self._routes.get((found[3] or "", head.method))
        if found is None or route is None or not _body_is_small(head):
            return None
        authorization = head.header(b"authorization")
        token = None if authorization is None else bearer(authorization.decode("latin-1"))
        caller = None if token is None else self._edge.cached(token)
        if token is None or caller is None:
            return None
        params: dict[str, str] = found[2]
        if b"%2" in head.path:
            mend(params)
        return HotCall(connection, route, caller, token, params, head)


def _body_is_small(head: "Head") -> bool:
    length = b"0"
    for name, value in head.headers:
        if name == b"transfer-encoding":
            return False
        if name == b"content-length":
            length = value
    if len(length) > LENGTH_DIGITS_MAX or not length.isdigit():
        return False
    return int(length) <= (0 if head.method == "GET" else EVENT_BYTES_MAX)


class HotCall:
    """One request and its answer."""

    __slots__ = (
        "_address",
        "_at_work",
        "_caller",
        "_disconnected",
        "_kind",
        "_parts",
        "_path",
        "_query",
        "_route",
        "_started",
        "_task",
        "_token",
        "_wait",
        "answered",
        "close_after",
        "connection",
        "ready",
    )

    def __init__(
        self,
        connection: "Connection",
        route: HotRoute,
        caller: Caller,
        token: str,
        path: dict[str, str],
        head: "Head",
    ) -> None:
        self.connection = connection
        self.close_after = not head.keep_alive
        self.ready = False
        """Whether it is all there and can begin."""
        self.answered = False
        self._route = route
        self._caller = caller
        self._path: dict[str, str] | None = path
        self._query: bytes | None = head.query
        self._address: str | None = connection.client_address(head)
        self._parts: list[bytes] | None = None
        self._disconnected = False
        self._at_work = False
        self._kind = kind_of(head.method, head.path, head.query)
        self._token = b"" if self._kind in NO_WORK else token.encode()
        self._started = 0.0
        self._wait: Wait | None = None
        self._task: asyncio.Task[None] | None = None

    # From the connection

    def feed(self, body: bytes) -> None:
        if self._parts is None:
            self._parts = [body]
        else:
            self._parts.append(body)

    def finish(self) -> None:
        self.ready = True

    def admitted(self) -> bool:
        """Whether this may begin now; `begin` has to follow then. If not, its answer is a refusal, now or soon."""
        admission = self.connection.shared.admission
        self._started = self._route.edge.clock()
        refusal = admission.admit(self._kind, self._token)
        if refusal is None:
            self._at_work = True
            return True
        admission.say(lambda: self._refuse(refusal))
        return False

    def begin(self) -> None:
        route, edge = self._route, self._route.edge
        path, query, body = self._path or {}, self._query or b"", b"".join(self._parts or ())
        try:
            edge.limit(route.rule, self._caller, self._address or "")
            # While it waits, what was asked is with the endpoint, and not twice in memory.
            self._path = self._query = self._address = self._parts = None
            outcome = route.hot(Call(self._caller, path, query.decode(), body))
        except Exception as error:
            self._refuse(error)
            return
        self._take(outcome)

    def disconnect(self) -> None:
        """Nobody listens any more. A long poll ends; what was to be done is done all the same."""
        self._disconnected = True
        self._let_go()

    def shutdown(self) -> None:
        """The server stops: whoever waits is let go, the rest is finished."""
        self.close_after = True
        parked = self._wait is not None and self._task is None
        self._let_go()
        if parked:
            self._refuse(broken_off())

    def _let_go(self) -> None:
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.cancel()
        if self._task is None:
            self._end()
        elif self._route.rule.waits:
            # Later, or it might never have begun, and then could not tidy up.
            self.connection.shared.loop.call_soon(self._task.cancel)

    # To the endpoint and back

    def _take(self, outcome: Outcome) -> None:
        if isinstance(outcome, bytes):
            self._wait = None
            self._answer(200, outcome)
        elif not isinstance(outcome, Wait):
            self._task = self.connection.shared.run(self._work(outcome))
        elif outcome is self._wait:
            outcome.park(self)
        elif self._disconnected:
            outcome.cancel()
        else:
            self._wait = outcome
            self._resume()

    def woken(self) -> None:
        self.connection.shared.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._wait is None:
            return  # let go meanwhile
        try:
            outcome = self._wait.resume()
        except Exception as error:
            self._refuse(error)
            return
        self._take(outcome)

    async def _work(self, work: Coroutine[Any, Any, Outcome]) -> None:
        try:
            outcome = await work
        except asyncio.CancelledError:
            self._refuse(broken_off())
            raise
        except Exception as error:
            self._refuse(error)
            return
        finally:
            self._task = None
        self._take(outcome)

    def _refuse(self, error: Exception) -> None:
        self._wait, route = None, self._route
        told = route.edge.told(error, route.method, route.template)
        self._answer(told.status, error_body(told), retry_after(told))

    def _answer(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        self._end()
        if self._disconnected or self.answered:
            return
        connection, route = self.connection, self._route
        self.answered = True
        head = json_answer(
            status, len(body), connection.shared.headers, retry_after=retry_after, close=self.close_after
        )
        connection.write(head, body)
        route.edge.answered(route.template, route.method, status, self._caller, None, self._started)
        connection.done()

    def _end(self) -> None:
        """It is at work no more."""
        if self._at_work:
            self._at_work = False
            self.connection.shared.admission.done(self._kind, self._token)
