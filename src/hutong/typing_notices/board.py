"""Who types in which room, as one cell knows it. Notices end by themselves when their time is up.

Every change of what readers see takes the next number of a counter, which a sync token carries beside the position in
the log.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Final, Protocol

from hutong.ids import MemberRef, RoomNo

TYPISTS_MAX: Final = 200
"""How many are shown at once in one room."""
ROOMS_KEPT_MAX: Final = 50_000
"""Rooms in which nobody types any more, remembered so that waiting clients hear that it ended."""


class Timer(Protocol):
    """What the board needs of an event loop."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object]) -> object: ...


@dataclass(slots=True)
class _Room:
    changed: int = 0
    until: dict[MemberRef, float] = field(default_factory=dict)


class TypingBoard:
    def __init__(self, timer: Timer, changed: Callable[[RoomNo], None]) -> None:
        """`changed` is called for a room after its typists changed."""
        self.eph = 0
        """The number of the last change."""
        self._timer = timer
        self._changed = changed
        self._rooms: dict[RoomNo, _Room] = {}  # in the order of their last change
        self._ends: list[tuple[float, RoomNo, MemberRef]] = []
        self._alarm = inf  # when the timer that counts goes off; those set before it, for later, do nothing

    def set(self, room: RoomNo, ref: MemberRef, ms: int) -> None:
        """`ref` types in `room` for `ms` milliseconds from now on; 0: no longer."""
        here = self._rooms.get(room)
        if ms <= 0:
            if here is not None and here.until.pop(ref, None) is not None:
                self._note(room, here)
            return
        if here is None:
            here = _Room()
        if ref not in here.until and len(here.until) >= TYPISTS_MAX:
            return
        end = self._timer.time() + ms / 1_000
        began = ref not in here.until
        here.until[ref] = end
        heappush(self._ends, (end, room, ref))
        self._wake_at(end)
        if began:
            self._note(room, here)

    def typists(self, room: RoomNo) -> list[MemberRef]:
        """Who types in `room`, longest first."""
        here = self._rooms.get(room)
        return [] if here is None else list(here.until)

    def changed_after(self, eph: int) -> list[RoomNo]:
        """The rooms whose typists changed after number `eph`. Cost: one step per room found."""
        found = []
        for room, here in reversed(self._rooms.items()):
            if here.changed <= eph:
                break
            found.append(room)
        return found

    def changed(self, room: RoomNo, eph: int) -> bool:
        """Whether the typists of `room` changed after number `eph`."""
        here = self._rooms.get(room)
        return here is not None and here.changed > eph

    def changed_among(self, rooms: AbstractSet[RoomNo], eph: int) -> list[RoomNo]:
        """Those of `rooms` whose typists changed after number `eph`.

        Cost: one step per change since then, or per room of `rooms`, whichever are fewer.
        """
        if self.eph - eph > len(rooms):
            return [room for room in rooms if self.changed(room, eph)]
        return [room for room in self.changed_after(eph) if room in rooms]

    def _note(self, room: RoomNo, here: _Room) -> None:
        self.eph += 1
        here.changed = self.eph
        self._rooms.pop(room, None)
        self._rooms[room] = here
        if len(self._rooms) > ROOMS_KEPT_MAX:
            self._forget()
        self._changed(room)

    def _forget(self) -> None:
        quiet = next((room for room, here in self._rooms.items() if not here.until), None)
        if quiet is not None:
            del self._rooms[quiet]

    def _wake_at(self, when: float) -> None:
        if when < self._alarm:
            self._alarm = when
            self._timer.call_at(when, lambda: self._expire(when))

    def _expire(self, when: float) -> None:
        if when != self._alarm:
            return
        self._alarm = inf
        now = self._timer.time()
        while self._ends and self._ends[0][0] <= now:
            end, room, ref = heappop(self._ends)
            here = self._rooms.get(room)
            if here is not None and here.until.get(ref) == end:  # else it was prolonged, or ended before
                del here.until[ref]
                self._note(room, here)
        if self._ends:
            self._wake_at(self._ends[0][0])
