"""What an account says while it waits in `/sync`: a second connection, on which its requests go out in order."""

import asyncio
from collections import deque

from bench.load import wire
from bench.load.matrix import Target
from bench.load.wire import BROKEN, Done


class Voice:
    """One request at a time; the others wait. A connection that the server closed meanwhile is opened again, once."""

    def __init__(self, target: Target, connection: wire.Connection) -> None:
        self._target = target
        self._connection = connection
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._said: tuple[bytes, Done] | None = None
        self._again = False
        self._connecting: asyncio.Task[None] | None = None

    @property
    def silent(self) -> bool:
        """Whether everything has been answered."""
        return self._said is None

    def say(self, request: bytes, done: Done) -> None:
        """Send `request` after those before it."""
        if self._said is None:
            self._send(request, done)
        else:
            self._waiting.append((request, done))

    def close(self) -> None:
        self._waiting.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        self._connection.close()

    def _send(self, request: bytes, done: Done) -> None:
        self._said = request, done
        if self._connection.open:
            self._again = False
            self._connection.send(request, self._answered)
        else:
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        assert self._said is not None, "somebody wants to say something"
        self._again = True
        try:
            self._connection = await wire.connect(self._target.host, self._target.port)
        except OSError:
            self._answered(BROKEN, b"")
        else:
            self._connection.send(self._said[0], self._answered)

    def _answered(self, status: int, body: bytes) -> None:
        assert self._said is not None, "it is what is answered"
        if status == BROKEN and not self._again:  # the server closed it while the request was on its way
            self._connecting = asyncio.create_task(self._connect())
            return
        _, done = self._said
        self._said = None
        done(status, body)
        if self._waiting and self._said is None:
            self._send(*self._waiting.popleft())
