"""The end of a cell's log, in memory: what was committed lately, and who waits for more.

Published records, the head and the wake-ups move in one step without an await: a reader that sees `head` sees
every record up to it, and nobody starts to wait between a record and its wake-up.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice, takewhile
from typing import TypeVar

from msgspec import structs

from hutong.cells.codes import LogKind
from hutong.cells.records import Envelope, Event, Record
from hutong.ids import AccountNo, MemberRef, Pos, RoomNo, Seq

TAIL_RECORDS_MAX = 100_000
RIDE_S = 0.5
"""How long receipts wait for other news of their room, with which those who wait hear of them."""
LATEST = 100
"""Among so many records of a room an event is looked for that somebody speaks of."""

K = TypeVar("K")

Waiter = Callable[[Record | None], None]
"""Called synchronously for each record of a room or account that it subscribed to, and with None for what has no place
in the log (typing), or has waited for RIDE_S; must not block or raise."""


class Tail:
    def __init__(self, head: Pos, records_max: int = TAIL_RECORDS_MAX) -> None:
        self.head = head
        """The last committed position."""
        self.start = head
        """Every record after this position is here; older ones are in the tables only."""
        self.resets = 0
        """How often everything was forgotten: who was subscribed then may have missed something."""
        self._records_max = records_max
        self._records: deque[Record] = deque()
        self._by_room: dict[RoomNo, deque[Record]] = {}
        self._by_account: dict[AccountNo, deque[Record]] = {}
        self._room_waiters: dict[RoomNo, set[Waiter]] = defaultdict(set)
        self._account_waiters: dict[AccountNo, tuple[Waiter, ...]] = {}
        self._riding: dict[RoomNo, asyncio.TimerHandle] = {}
        """Rooms with receipts that nobody who waits was woken for."""

    def publish(self, records: Sequence[Record], head: Pos) -> None:
        """Make `records` (in order, after `head` so far) visible, then wake whoever waits for them."""
        for record in records:
            assert record.pos > self.head, "positions are published in order, once"
            self._records.append(record)
            key = record.account or record.room
            index: dict[int, deque[Record]] = self._by_account if record.account else self._by_room  # type: ignore[assignment]
            index.setdefault(key, deque()).append(record)
        self.head = head
        self._trim()
        for record in records:
            if record.account:
                waiters: Iterable[Waiter] = self._account_waiters.get(record.account, ())
            else:
                waiters = self._room_waiters.get(record.room, ())
            for waiter in tuple(waiters):
                waiter(record)
        self._let_ride(records)

    def _let_ride(self, records: Sequence[Record]) -> None:
        """Wake nobody for receipts alone, if something else happens in their room soon."""
        read = {record.room for record in records if record.kind is LogKind.RECEIPTS}
        if not read and not self._riding:
            return
        told = {record.room for record in records if not record.account and record.kind is not LogKind.RECEIPTS}
        for room in told & self._riding.keys():
            self._riding.pop(room).cancel()
        for room in read - told - self._riding.keys():
            if room in self._room_waiters:
                self._riding[room] = asyncio.get_running_loop().call_later(RIDE_S, self._arrive, room)

    def _arrive(self, room: RoomNo) -> None:
        self._riding.pop(room, None)
        self.nudge(room)

    def nudge(self, room: RoomNo) -> None:
        """Wake whoever watches `room` for something that has no place in the log."""
        for waiter in tuple(self._room_waiters.get(room, ())):
            waiter(None)

    def redact(self, room: RoomNo, seq: Seq, by: Seq) -> None:
        """Show an event as redacted from now on, also to readers with old tokens."""
        for record in self._by_room.get(room, ()):
            if record.event is not None and record.event.env.seq == seq:
                env = structs.replace(record.event.env, redacted_by=by)
                record.event, record.words = Event(pos=record.event.pos, env=env), None

    def forget_words(self, room: RoomNo, sender: MemberRef) -> None:
        """Somebody was erased: what they said in `room` must be read anew, and will be gone."""
        for record in self._by_room.get(room, ()):
            if record.event is not None and record.event.env.sender == sender:
                record.words = None

    def reset(self, head: Pos) -> None:
        """Forget everything: what lies up to `head` is in the tables only."""
        self.head = self.start = head
        self.resets += 1
        self._records.clear()
        self._by_room.clear()
        self._by_account.clear()

    def of_room(self, room: RoomNo, since: Pos) -> list[Record]:
        """The records of `room` after `since`, in order. `since` must not lie before `start`."""
        return _after(self._by_room.get(room), since)

    def find(self, room: RoomNo, event_id: bytes) -> Envelope | None:
        """The event with this id, if it is one of the latest of `room`. Cost: no more than LATEST steps."""
        for record in islice(reversed(self._by_room.get(room, ())), LATEST):
            if record.event is not None and record.event.env.event_id == event_id:
                return record.event.env
        return None

    def ids_at(self, room: RoomNo, places: Collection[Seq]) -> dict[Seq, bytes]:
        """The ids of the events at `places` that are among the latest of `room`. Cost: no more than LATEST steps."""
        found: dict[Seq, bytes] = {}
        for record in islice(reversed(self._by_room.get(room, ())), LATEST):
            if len(found) == len(places):
                break
            if record.event is not None and record.event.env.seq in places:
                found[record.event.env.seq] = record.event.env.event_id
        return found

    def of_account(self, account: AccountNo, since: Pos) -> list[Record]:
        """The records that concern `account` alone, after `since`, in order."""
        return _after(self._by_account.get(account), since)

    def reaches(self, since: Pos) -> bool:
        """Whether the tail alone can tell everything after `since`."""
        return since >= self.start

    def subscribe(self, waiter: Waiter, rooms: Iterable[RoomNo], accounts: Iterable[AccountNo] = ()) -> None:
        for room in rooms:
            self._room_waiters[room].add(waiter)
        for account in accounts:
            self._account_waiters[account] = (*_without(self._account_waiters.get(account, ()), waiter), waiter)

    def unsubscribe(self, waiter: Waiter, rooms: Iterable[RoomNo], accounts: Iterable[AccountNo] = ()) -> None:
        for room in rooms:
            _discard(self._room_waiters, room, waiter)
        for account in accounts:
            others = _without(self._account_waiters.pop(account, ()), waiter)
            if others:
                self._account_waiters[account] = others

    def watched(self, room: RoomNo) -> bool:
        """Whether anybody here waits for news of `room`."""
        return room in self._room_waiters

    def _trim(self) -> None:
        while len(self._records) > self._records_max:
            oldest = self._records.popleft()
            self.start = oldest.pos
            if oldest.account:
                _drop_first(self._by_account, oldest.account)
            else:
                _drop_first(self._by_room, oldest.room)


def _after(records: deque[Record] | None, since: Pos) -> list[Record]:
    if not records:
        return []
    found = list(takewhile(lambda record: record.pos > since, reversed(records)))
    found.reverse()
    return found


def _without(waiters: tuple[Waiter, ...], waiter: Waiter) -> tuple[Waiter, ...]:
    """Few: the devices of one account."""
    return tuple(other for other in waiters if other != waiter)


def _drop_first(index: dict[K, deque[Record]], key: K) -> None:
    records = index[key]
    records.popleft()
    if not records:
        del index[key]


def _discard(waiters: dict[RoomNo, set[Waiter]], room: RoomNo, waiter: Waiter) -> None:
    if room in waiters:
        waiters[room].discard(waiter)
        if not waiters[room]:
            del waiters[room]
