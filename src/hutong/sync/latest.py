"""The last events of rooms, their state and who is in them, kept for the next reader who begins anew.

A room is read from the tables once. Afterwards the tail tells what came since: nothing is done when something is
written, only when somebody looks. Kept are rooms at home in this cell, whose events have seqs without gaps and come
by the tail one and all; a copy of another cell's room is read from the tables each time.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from hutong.cells.records import Event, Record
from hutong.cells.sync_reads import SummaryRow, SyncReads
from hutong.cells.tail import Tail
from hutong.ids import MemberRef, Pos, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms.event_types import MEMBER, Relation

EVENTS_MAX: Final = 100_000
"""How many events are kept, of all rooms."""
WINDOW_MAX: Final = 128
"""How many of the last events of one room are kept."""
STATE_MAX: Final = 500
"""A room with more state than this is asked for it each time."""

Window = tuple[RoomNo, Pos, Pos, Seq]
Start = tuple[RoomNo, Seq, Pos]
_Key = tuple[TypeCode, StateKeyCode | None]


class _Room:
    """What is kept of one room, as of `pos`. `window`: its last events; with `whole` all that there are."""

    __slots__ = ("members", "moves", "pos", "state", "summary", "whole", "window")

    def __init__(self, window: list[Event], pos: Pos, *, whole: bool) -> None:
        self.window = window
        self.whole = whole
        self.pos = pos
        self.state: dict[_Key, Event] | None = None
        """Its state now, without members."""
        self.members: dict[MemberRef, Event] = {}
        """The m.room.member of some of its people, as it is now."""
        self.summary: SummaryRow | None = None
        self.moves = 0
        """How many memberships changed since it is kept."""

    def __len__(self) -> int:
        return len(self.window) + len(self.state or ()) + len(self.members)

    def take(self, records: Iterable[Record], head: Pos) -> bool:
        """Move on to `head`; False when an event that is kept may have changed."""
        for record in records:
            if record.event is None:
                continue
            env = record.event.env
            if env.rel_type == Relation.REDACTION:
                return False
            self.window.append(record.event)
            if env.type == MEMBER and env.skey is not None:
                self.moves += 1
                self.summary = None
                ref = MemberRef(env.skey)
                if ref in self.members:
                    self.members[ref] = record.event
            elif env.skey is not None and self.state is not None:
                self.state[env.type, env.skey] = record.event
        self.pos = head
        if len(self.window) > WINDOW_MAX:
            del self.window[:-WINDOW_MAX]
            self.whole = False
        return True

    def between(self, after: Pos, upto: Pos, limit: int) -> list[Event] | None:
        """The last `limit` events between two positions; None when they are not all here."""
        window = self.window
        end = len(window)
        while end and window[end - 1].pos > upto:
            end -= 1
        first = max(end - limit, 0)
        if end - first < limit and not self.whole and not (window and window[0].pos <= after):
            return None
        while first < end and window[first].pos <= after:
            first += 1
        return window[first:end]

    def reaches(self, start: Seq, upto: Pos) -> bool:
        """Whether every event from `start` on is here, and one of them lies before `upto`."""
        window = self.window
        if not window or not window[0].env.seq <= start <= window[-1].env.seq:
            return False
        return window[bisect_left(window, start, key=_seq)].pos <= upto

    def state_before(self, start: Seq, upto: Pos) -> list[Event] | None:
        """The state before an event, without members; None when only the tables can tell."""
        if self.whole:
            before = (event for event in self.window if event.env.seq < start and event.pos <= upto)
            return list(_state_of(before).values())
        if self.state is None:
            return None
        state = list(self.state.values())
        return None if any(event.env.seq >= start or event.pos > upto for event in state) else state

    def keep_state(self, before: Iterable[Event], start: Seq) -> None:
        """`before`: the state before `start`, from where on everything is in the window."""
        state = _state_of((*before, *(event for event in self.window if event.env.seq >= start)))
        self.state = state if len(state) <= STATE_MAX else None

    def member_before(self, ref: MemberRef, start: Seq, upto: Pos) -> Event | None:
        """Somebody's m.room.member before an event; None when only the tables can tell, or there is none."""
        event = self.members.get(ref)
        if event is not None and event.env.seq < start and event.pos <= upto:
            return event
        if not self.whole:
            return None
        own = (event for event in reversed(self.window) if event.env.target == ref)
        return next((event for event in own if event.env.seq < start and event.pos <= upto), None)

    def keep_members(self, before: Iterable[Event], start: Seq) -> None:
        """The same for the m.room.member of some."""
        later = {event.env.skey: event for event in self.window if event.env.type == MEMBER and event.env.seq >= start}
        for event in before:
            self.members[MemberRef(event.env.skey or 0)] = later.get(event.env.skey, event)


def _state_of(events: Iterable[Event]) -> dict[_Key, Event]:
    """The last of each kind of state among `events`, without members."""
    state = (event for event in events if event.env.skey is not None and event.env.type != MEMBER)
    return {(event.env.type, event.env.skey): event for event in state}


class Latest:
    """Answers like `SyncReads`, from memory where it can. Cost: a look at each event told, else as `SyncReads`."""

    def __init__(self, tail: Tail, reads: SyncReads, events_max: int = EVENTS_MAX) -> None:
        self._tail = tail
        self._reads = reads
        self._events_max = events_max
        self._rooms: OrderedDict[RoomNo, _Room] = OrderedDict()
        self._size = 0

    async def timelines(
        self, windows: Iterable[Window], codes: Sequence[TypeCode] | None, limit: int
    ) -> dict[RoomNo, list[Event]]:
        """As `SyncReads.timelines`. Every window ends at or before the head of the tail."""
        if codes is not None or limit > WINDOW_MAX:
            return await self._reads.timelines(windows, codes, limit)
        found: dict[RoomNo, list[Event]] = {}
        missing: list[Window] = []
        for window in windows:
            room, after, upto, _ = window
            kept = self._kept(room)
            events = None if kept is None else kept.between(after, upto, limit)
            if events is None:
                missing.append(window)
            elif events:
                found[room] = events
        if missing:
            read = await self._reads.timelines(missing, None, limit)
            found |= read
            for room, after, upto, from_seq in missing:
                if from_seq == 0 and after == 0 and self._tail.reaches(upto):
                    self._keep(room, read.get(room, []), upto, limit)
        return found

    def _keep(self, room: RoomNo, events: list[Event], upto: Pos, limit: int) -> None:
        kept = _Room(list(events), upto, whole=len(events) < limit)
        if kept.take(self._tail.of_room(room, upto), self._tail.head):
            self._drop(room)
            self._rooms[room] = kept
            self._grew(len(kept))

    def _grew(self, by: int) -> None:
        self._size += by
        while self._size > self._events_max and self._rooms:
            self._drop(next(iter(self._rooms)))

    def _drop(self, room: RoomNo) -> None:
        kept = self._rooms.pop(room, None)
        if kept is not None:
            self._size -= len(kept)

    def _kept(self, room: RoomNo) -> _Room | None:
        """What is kept of `room`, as of now."""
        kept = self._rooms.get(room)
        if kept is None:
            return None
        tail = self._tail
        if not tail.reaches(kept.pos):
            self._drop(room)
            return None
        before = len(kept)
        if not kept.take(tail.of_room(room, kept.pos), tail.head):
            self._size -= before
            del self._rooms[room]
            return None
        self._rooms.move_to_end(room)
        self._grew(len(kept) - before)
        return kept

    async def state_at(
        self, starts: Iterable[Start], codes: Sequence[TypeCode] | None, *, members: bool
    ) -> dict[RoomNo, list[Event]]:
        """As `SyncReads.state_at`."""
        if codes is not None or members:
            return await self._reads.state_at(starts, codes, members=members)
        found: dict[RoomNo, list[Event]] = {}
        missing: list[Start] = []
        before: dict[RoomNo, _Room] = {}
        for each in starts:
            room, start, upto = each
            kept = self._kept(room)
            state = None if kept is None else kept.state_before(start, upto)
            if state is not None:
                found[room] = state
                continue
            missing.append(each)
            if kept is not None:
                before[room] = kept
        if missing:
            read = await self._reads.state_at(missing, None, members=False)
            found |= read
            for room, start, upto in missing:
                kept = self._still(room, before, start, upto)
                if kept is not None:
                    size = len(kept)
                    kept.keep_state(read.get(room, ()), start)
                    self._grew(len(kept) - size)
        return found

    def _still(self, room: RoomNo, before: dict[RoomNo, _Room], start: Seq, upto: Pos) -> _Room | None:
        """What was kept of `room` before a read, if it is kept still: then nothing that was read has changed since."""
        kept = before.get(room)
        return kept if kept is not None and self._kept(room) is kept and kept.reaches(start, upto) else None

    async def members_at(self, members: Iterable[tuple[RoomNo, MemberRef, Seq, Pos]]) -> dict[RoomNo, list[Event]]:
        """As `SyncReads.members_at`. The members of one room are asked for as of one place."""
        found: dict[RoomNo, list[Event]] = {}
        missing: list[tuple[RoomNo, MemberRef, Seq, Pos]] = []
        before: dict[RoomNo, _Room] = {}
        last, kept = None, None
        for each in members:
            room, ref, start, upto = each
            if room != last:
                last, kept = room, self._kept(room)
            if kept is not None:
                event = kept.member_before(ref, start, upto)
                if event is not None:
                    found.setdefault(room, []).append(event)
                if event is not None or kept.whole:
                    continue
                before[room] = kept
            missing.append(each)
        if missing:
            asked = {room: (start, upto) for room, _, start, upto in missing}
            for room, events in (await self._reads.members_at(missing)).items():
                found.setdefault(room, []).extend(events)
                start, upto = asked[room]
                kept = self._still(room, before, start, upto)
                if kept is not None:
                    size = len(kept)
                    kept.keep_members(events, start)
                    self._grew(len(kept) - size)
        return found

    async def summaries(self, rooms: Collection[RoomNo]) -> dict[RoomNo, SummaryRow]:
        """As `SyncReads.summaries`."""
        found: dict[RoomNo, SummaryRow] = {}
        missing: dict[RoomNo, tuple[_Room, int] | None] = {}
        for room in rooms:
            kept = self._kept(room)
            if kept is not None and kept.summary is not None:
                found[room] = kept.summary
            else:
                missing[room] = None if kept is None else (kept, kept.moves)
        if missing:
            for room, summary in (await self._reads.summaries(list(missing))).items():
                found[room] = summary
                then = missing[room]
                if then is not None and self._kept(room) is then[0] and then[0].moves == then[1]:
                    then[0].summary = summary
        return found

    def since(self, room: RoomNo, base: Seq, upto: Pos) -> list[Event] | None:
        """What came in a room from `base` on, up to a position, and the event before it; None when that is not at hand.

        After a restore there may be no event `base`.
        """
        kept = self._kept(room)
        if kept is None or not kept.reaches(base, upto):
            return None
        events = kept.window[bisect_right(kept.window, base, key=_seq) - 1 :]
        while events and events[-1].pos > upto:
            events.pop()
        return events or None


def _seq(event: Event) -> Seq:
    return event.env.seq
