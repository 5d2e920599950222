"""What a hot endpoint is asked and what it answers, whether the request came by the short way or through ASGI.

A hot endpoint is one synchronous function `hot_get`, `hot_put` or `hot_post`, which takes a `Call` and gives an
`Outcome`. It has no twin: `HotResource` makes the same function into one that the application can call, for all
requests that cannot go the short way.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeAlias

from falcon.uri import parse_query_string

from hutong.http.request import EVENT_BYTES_MAX, Caller, Request, Response, caller, raw_body

HOT_METHODS = ("GET", "PUT", "POST")


class Call:
    """Who asks, the parameters of the path (decoded), the query as sent, and the whole body."""

    def __init__(self, caller: Caller, path: Mapping[str, str], query_string: str, body: bytes) -> None:
        self.caller = caller
        self.path = path
        self.query_string = query_string
        self.body = body

    @cached_property
    def params(self) -> Mapping[str, str | list[str]]:
        return parse_query_string(self.query_string, keep_blank=True, csv=False) if self.query_string else {}


class Waker(Protocol):
    """Who is told that a wait is over."""

    def woken(self) -> None:
        """Only takes a note: what there is to do is done later, from the event loop."""


class Wait(ABC):
    """An answer that may take long: while it waits it costs no task. Made anew for each request.

    `resume` is asked at once, and after that whenever a wait is over.
    """

    __slots__ = ()

    @abstractmethod
    def park(self, waker: Waker) -> None:
        """It said that it waits: tell `waker`, once, when `resume` should be asked."""

    @abstractmethod
    def resume(self) -> "Outcome":
        """The answer, work that leads to it, or this very wait: then it waits. Raises: MatrixError."""

    @abstractmethod
    def cancel(self) -> None:
        """Nobody wants the answer any more, whether it waits or works; the waker is not told after this."""


Outcome: TypeAlias = "bytes | Wait | Coroutine[Any, Any, Outcome]"
"""The JSON of an answer that is there at once, one that comes later, or work, in a task, that leads to one of them."""

Hot = Callable[[Call], Outcome]


def hot_methods(resource: object) -> dict[str, Hot]:
    """The hot functions of a resource, by method."""
    found = {method: getattr(resource, f"hot_{method.lower()}", None) for method in HOT_METHODS}
    return {method: hot for method, hot in found.items() if hot is not None}


class HotResource:
    """A resource with hot methods; the application finds their long way under the names that it looks for."""

    def __init_subclass__(cls) -> None:
        for method in HOT_METHODS:
            if hasattr(cls, f"hot_{method.lower()}"):
                setattr(cls, f"on_{method.lower()}", _responder(method))


def _responder(method: str) -> Callable[..., Coroutine[Any, Any, None]]:
    async def respond(self: HotResource, req: Request, resp: Response, **path: str) -> None:
        raw = b"" if method == "GET" else await raw_body(req, EVENT_BYTES_MAX)
        hot: Hot = getattr(self, f"hot_{method.lower()}")
        resp.data = await settle(hot(Call(caller(req), path, req.query_string, raw)))

    return respond


async def settle(outcome: Outcome) -> bytes:
    """The answer, for a task that has nothing else to do. Raises: what the endpoint raises."""
    wait: Wait | None = None
    try:
        while not isinstance(outcome, bytes):
            if not isinstance(outcome, Wait):
                outcome = await outcome
                continue
            if outcome is wait:
                await _Parked().over(outcome)
            wait = outcome
            outcome = outcome.resume()
    except asyncio.CancelledError:
        if wait is not None:
            wait.cancel()
        raise
    return outcome


class _Parked:
    """A task that waits for the end of a wait."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def woken(self) -> None:
        self._woken.set()

    async def over(self, wait: Wait) -> None:
        wait.park(self)
        await self._woken.wait()
