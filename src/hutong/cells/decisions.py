"""One at a time about one event: sending it abroad, sending it again, and asking what became of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Decisions:
    def __init__(self) -> None:
        self._locks: dict[bytes, tuple[asyncio.Lock, int]] = {}

    def on(self, event_id: bytes) -> bool:
        """Whether somebody is at it."""
        return event_id in self._locks

    @asynccontextmanager
    async def about(self, event_id: bytes) -> AsyncIterator[None]:
        """Wait for one's turn, then decide."""
        lock, count = self._locks.get(event_id) or (asyncio.Lock(), 0)
        self._locks[event_id] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            _, count = self._locks[event_id]
            if count == 1:
                del self._locks[event_id]
            else:
                self._locks[event_id] = lock, count - 1
