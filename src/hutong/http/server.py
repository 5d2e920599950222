"""Listens on one or several addresses, and stops within a deadline."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Any

from hutong.config import Limits
from hutong.http.admission import TICK_S, Admission
from hutong.http.failures import header_lines
from hutong.http.ports import listening
from hutong.http.protocol import TRUSTED_PROXIES, Connection, Shared

log = logging.getLogger("hutong.http")

CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization"),
    (b"access-control-expose-headers", b"Retry-After"),
)
"""Source: Client-Server API v1.19, "Web Browser Clients"."""
SAFE = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
BACKLOG = 2_048
SWEEP_SECONDS = 1.0
FLUSH_SECONDS = 1.0

Bind = tuple[str, int, str | None]
"""Host, port (0: any free one) and the region whose address it is, or None when it serves all."""


class HttpServer:
    """Serves `app`, an `Application` or any other of ASGI, on each of `binds`, in the running event loop.

    `headers` go on every answer, also on those that never reach the app; `wall_clock` (seconds since 1970) dates them.
    `homes`: how many cells are served, none of which may take all of what can be done at once.
    """

    def __init__(
        self,
        app: Any,
        binds: Sequence[Bind],
        limits: Limits | None = None,
        *,
        headers: Iterable[tuple[bytes, bytes]] = (*CORS, *SAFE),
        trusted_proxies: frozenset[str] = TRUSTED_PROXIES,
        wall_clock: Callable[[], float] = time.time,
        homes: int = 1,
    ) -> None:
        self._binds = binds
        self._fixed_headers = header_lines(headers)
        self._wall_clock = wall_clock
        limits = limits or Limits()
        self.admission = Admission(limits, time.monotonic, homes)
        self._shared = Shared(
            app, getattr(app, "hot", None), limits, self._fixed_headers, self.admission, trusted_proxies
        )
        self._listeners: list[asyncio.Server] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.ports: list[int] = []
        """The port of each bind, in order, once started."""

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._shared.connections)

    async def start(self) -> None:
        """Listen. Raises: OSError naming the address that cannot be had; then nothing listens."""
        loop = self._shared.loop = asyncio.get_running_loop()
        try:
            for host, port, region in self._binds:
                sockets = await listening(host, port)
                self.ports.append(sockets[0].getsockname()[1])
                for sock in sockets:
                    self._listeners.append(await loop.create_server(self._factory(region), sock=sock, backlog=BACKLOG))
        except OSError:
            await self.stop(0)
            raise
        self._every_second()
        self._look()

    async def stop(self, grace_seconds: float = 3.0) -> None:
        """Accept nothing new, let go of who waits, give the rest `grace_seconds`, then break off. May be repeated."""
        self._shared.stopping = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self._shared.connections):
            connection.shutdown()
        if self._shared.tasks:
            await asyncio.wait(set(self._shared.tasks), timeout=grace_seconds)
        for task in list(self._shared.tasks):
            task.cancel()
        if self._shared.tasks:
            log.warning("broke off %d requests that did not end in time", len(self._shared.tasks))
            await asyncio.wait(set(self._shared.tasks), timeout=FLUSH_SECONDS)
        if self._shared.connections:
            self._shared.all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._shared.all_gone.wait(), FLUSH_SECONDS)
        for connection in list(self._shared.connections):
            connection.transport.abort()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _factory(self, region: str | None) -> Callable[[], Connection]:
        return lambda: Connection(self._shared, region)

    def _look(self) -> None:
        self.admission.tick()
        self._timers["look"] = asyncio.get_running_loop().call_later(TICK_S, self._look)

    def _every_second(self) -> None:
        """The date, and what is overdue."""
        loop = asyncio.get_running_loop()
        date = formatdate(self._wall_clock(), usegmt=True).encode()
        self._shared.headers = b"date: %b\r\n" % date + self._fixed_headers
        self._shared.sweep(loop.time())
        limits = self._shared.limits
        shortest = min(limits.header_seconds_max, limits.request_seconds_max, limits.idle_seconds_max)
        self._timers["second"] = loop.call_later(min(SWEEP_SECONDS, shortest / 4), self._every_second)
