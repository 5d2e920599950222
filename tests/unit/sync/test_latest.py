"""What is kept of rooms tells the same as the tables, whatever was said, changed and redacted since, or meanwhile."""

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest
from msgspec import structs

from hutong.cells.codes import LogKind
from hutong.cells.records import Event, Record
from hutong.cells.sync_reads import SummaryRow
from hutong.cells.tail import Tail
from hutong.ids import MemberRef, Pos, RoomNo, Seq, TypeCode
from hutong.rooms.event_types import MEMBER, MESSAGE, NAME, REDACTION, TOPIC, Membership, Relation
from hutong.sync.latest import Latest, Start, Window
from tests.unit.sync.people import envelope

ROOMS = (RoomNo(1), RoomNo(2), RoomNo(3))
COPY = RoomNo(3)
"""A room of another cell."""
PEOPLE = tuple(map(MemberRef, range(101, 107)))
Place = tuple[RoomNo, MemberRef, Seq, Pos]


class Tables:
    """Every event there is, as `SyncReads` finds them; `meanwhile` something happens while somebody reads."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tail = Tail(Pos(0), records_max=60)
        self.events: dict[RoomNo, list[Event]] = {room: [] for room in ROOMS}
        self.busy = False
        self.reads = 0

    def say(self, room: RoomNo) -> None:
        chance, events = self.chance, self.events[room]
        seq = events[-1].env.seq + (50 if chance.random() < 0.02 else 1) if events else 1  # a restore leaves gaps
        kind = chance.choices((MESSAGE, NAME, TOPIC, MEMBER, REDACTION), (20, 1, 1, 2, 1))[0]
        redacted = None
        if kind == MEMBER:
            env = envelope(seq, MEMBER, skey=chance.choice(PEOPLE), value=chance.choice(list(Membership)))
        elif kind == REDACTION and events:
            redacted = chance.choice(events).env.seq
            env = structs.replace(envelope(seq, REDACTION), rel_seq=redacted, rel_type=Relation.REDACTION)
        else:
            env = envelope(seq, kind, skey=0 if kind in (NAME, TOPIC) else None)
        event = Event(pos=Pos(self.tail.head + 1), env=structs.replace(env, room=room))
        events.append(event)
        if redacted is not None:
            self.events[room] = [self._redacted(each, redacted, Seq(seq)) for each in events]
            self.tail.redact(room, redacted, Seq(seq))
        self.tail.publish([Record(pos=event.pos, kind=LogKind.EVENT, room=room, event=event)], event.pos)

    def _redacted(self, event: Event, seq: Seq, by: Seq) -> Event:
        if event.env.seq != seq:
            return event
        return Event(pos=event.pos, env=structs.replace(event.env, redacted_by=by))

    async def _read(self) -> None:
        self.reads += 1
        if self.busy:
            for _ in range(self.chance.randrange(4)):
                self.say(self.chance.choice(ROOMS))

    async def timelines(
        self, windows: Iterable[Window], codes: Sequence[TypeCode] | None, limit: int
    ) -> dict[RoomNo, list[Event]]:
        found = {
            room: [event for event in self.events[room] if after < event.pos <= upto][-limit:]
            for room, after, upto, _ in windows
        }
        await self._read()
        return {room: events for room, events in found.items() if events}

    async def state_at(
        self, starts: Iterable[Start], codes: Sequence[TypeCode] | None, *, members: bool
    ) -> dict[RoomNo, list[Event]]:
        found = {
            room: list(
                {event.env.type: event for event in self._before(room, start, upto) if event.env.skey == 0}.values()
            )
            for room, start, upto in starts
        }
        await self._read()
        return found

    async def members_at(self, members: Iterable[Place]) -> dict[RoomNo, list[Event]]:
        found: dict[RoomNo, list[Event]] = {}
        for room, ref, start, upto in members:
            moves = [event for event in self._before(room, start, upto) if event.env.target == ref]
            if moves:
                found.setdefault(room, []).append(moves[-1])
        await self._read()
        return found

    async def summaries(self, rooms: Collection[RoomNo]) -> dict[RoomNo, SummaryRow]:
        found = {}
        for room in rooms:
            now = {event.env.target: event.env.value for event in self.events[room] if event.env.type == MEMBER}
            joined, invited = (list(now.values()).count(value) for value in (Membership.JOIN, Membership.INVITE))
            found[room] = SummaryRow(joined, invited, ())
        await self._read()
        return found

    def _before(self, room: RoomNo, start: Seq, upto: Pos) -> list[Event]:
        return [event for event in self.events[room] if event.env.seq < start and event.pos <= upto]


class Reader:
    """Asks both, and compares."""

    def __init__(self, tables: Tables, latest: Latest, chance: random.Random) -> None:
        self.tables, self.latest, self.chance = tables, latest, chance

    async def look(self) -> None:
        tables, chance = self.tables, self.chance
        rooms = [room for room in ROOMS if tables.events[room]]
        upto = Pos(max(tables.tail.head - chance.choice((0, 0, 0, 1, 3)), 0))
        after = chance.randrange(upto + 1) if chance.random() < 0.2 else 0
        limit = chance.choice((3, 10, 40))
        windows = [(room, Pos(after), upto, Seq(5 if room == COPY else 0)) for room in rooms]
        starts = []
        for room in rooms:
            events = tables.events[room]
            start = events[max(len(events) - chance.randrange(1, limit + 1), 0)].env.seq
            starts.append((room, Seq(2**62) if chance.random() < 0.1 else start, upto))
        people = [(room, ref, start, upto) for room, start, upto in starts for ref in PEOPLE[: chance.randrange(7)]]
        asked = (
            await self.latest.timelines(windows, None, limit),
            _sorted(await self.latest.state_at(starts, None, members=False)),
            _sorted(await self.latest.members_at(people)),
            await self.latest.summaries(rooms),
        )
        if tables.busy:
            return  # an answer may be of before what happened, or of after it
        told = (
            await tables.timelines(windows, None, limit),
            _sorted(await tables.state_at(starts, None, members=False)),
            _sorted(await tables.members_at(people)),
            await tables.summaries(rooms),
        )
        assert asked == told
        for room in rooms:
            base = chance.choice(tables.events[room]).env.seq
            since = self.latest.since(room, base, upto)
            if since is not None:
                assert since == [e for e in tables.events[room] if e.env.seq >= since[0].env.seq and e.pos <= upto]
                assert since[0].env.seq <= base < (since[1].env.seq if len(since) > 1 else 2**62)


def _sorted(found: dict[RoomNo, list[Event]]) -> dict[RoomNo, list[Event]]:
    """Lists of state have no order, and none may be absent or empty."""
    return {room: sorted(events, key=lambda event: event.env.seq) for room, events in found.items() if events}


@pytest.mark.parametrize("seed", range(10))
async def test_what_is_kept_tells_the_same_as_the_tables(seed: int) -> None:
    chance = random.Random(seed)
    tables = Tables(chance)
    latest = Latest(tables.tail, tables, events_max=chance.choice((60, 100_000)))  # type: ignore[arg-type]
    reader = Reader(tables, latest, chance)
    for _ in range(150):
        for _ in range(chance.choice((0, 1, 3, 20))):
            tables.say(chance.choice(ROOMS))
        if chance.random() < 0.02:
            tables.tail.reset(tables.tail.head)
        tables.busy = chance.random() < 0.4
        await reader.look()
        tables.busy = False
        await reader.look()
    assert latest._size == sum(len(kept) for kept in latest._rooms.values())
    assert latest._size <= latest._events_max


async def test_a_room_is_read_once_whatever_is_said_in_it() -> None:
    tables = Tables(random.Random(1))
    latest = Latest(tables.tail, tables)  # type: ignore[arg-type]

    async def look() -> int:
        before = tables.reads
        head = tables.tail.head
        [events] = (await latest.timelines([(ROOMS[0], Pos(0), head, Seq(0))], None, 5)).values()
        start = events[0].env.seq
        await latest.state_at([(ROOMS[0], start, head)], None, members=False)
        await latest.members_at([(ROOMS[0], PEOPLE[0], start, head)])
        await latest.summaries([ROOMS[0]])
        return tables.reads - before

    def say(kind: TypeCode, **more: Any) -> None:
        pos = Pos(tables.tail.head + 1)
        event = Event(pos=pos, env=structs.replace(envelope(pos, kind, **more), room=ROOMS[0]))
        tables.events[ROOMS[0]].append(event)
        tables.tail.publish([Record(pos=pos, kind=LogKind.EVENT, room=ROOMS[0], event=event)], pos)

    say(MEMBER, skey=PEOPLE[0], value=Membership.JOIN)
    say(NAME, skey=0)
    for _ in range(9):
        say(MESSAGE)
    assert await look() == 4
    assert await look() == 0
    for _ in range(9):
        say(MESSAGE)
    assert await look() == 0
    say(MEMBER, skey=PEOPLE[1], value=Membership.JOIN)
    assert await look() == 1, "who is in it is asked anew"
