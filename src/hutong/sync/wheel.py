"""Deadlines of very many waits, by one timer: a wait costs a place in a set, and nothing wakes while none is due."""

import asyncio
from typing import Final, Protocol

TICK_S: Final = 0.05
"""How late a deadline may be noticed."""


class Timed(Protocol):
    """Compared and hashed by what it is."""

    def time_is_up(self) -> None: ...


class Wheel:
    def __init__(self) -> None:
        self._slots: dict[int, set[Timed]] = {}
        self._next = 0
        """The first slot that is not over yet, while there is a timer."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, timed: Timed, when: float) -> int:
        """Call `timed` once the loop's time is `when`, unless it is discarded before. Returns its slot."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._next = int(loop.time() / TICK_S)
            self._timer = loop.call_later(TICK_S, self._tick)
        slot = max(int(when / TICK_S) + 1, self._next)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = set()
        waiting.add(timed)
        return slot

    def discard(self, timed: Timed, slot: int) -> None:
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.discard(timed)
            if not waiting:
                del self._slots[slot]

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = int(loop.time() / TICK_S)
        while self._next <= now:
            for timed in self._slots.pop(self._next, ()):
                timed.time_is_up()
            self._next += 1
        self._timer = loop.call_later(TICK_S, self._tick) if self._slots else None
