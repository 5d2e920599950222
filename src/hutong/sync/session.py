"""Devices that poll: what a session knows of its account's rooms, kept up to date by the tail between two polls.

A session is subscribed to its rooms once. While it waits it costs nothing: the tail calls it for each record of its
rooms, which is one dictionary entry, and wakes the poll.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from itertools import takewhile
from sys import intern
from typing import Final, Protocol

from hutong.accounts.ignored import NOBODY
from hutong.cells.codes import LogKind
from hutong.cells.records import Record
from hutong.cells.sync_reads import Moment, MyRoom, SyncReads
from hutong.cells.tail import Tail
from hutong.cells.view import room_id_text
from hutong.ids import AccountNo, DeviceNo, HomeNo, MemberRef, Pos, RoomNo, Seq
from hutong.rooms.event_types import Membership
from hutong.sync.filters import Filter
from hutong.sync.model import START, Before, Own, is_about

IDLE_S: Final = 90.0
"""A session ends so long after its last poll."""
SWEEP_S: Final = 15.0
TOLD_MAX: Final = 20_000

Key = tuple[AccountNo, DeviceNo]


class Waiting(Protocol):
    """Who waits for news of a session."""

    def has_news(self) -> None:
        """Must not block or raise. Whoever is told waits no more."""


class Session:
    """There is one for every device that is on, so what it holds is little."""

    __slots__ = (
        "_told",
        "_told_by",
        "_told_count",
        "_waiting",
        "account",
        "device",
        "ended",
        "ignored",
        "last",
        "last_pos",
        "loaded",
        "lock",
        "moved",
        "polls",
        "resets",
        "rooms",
        "seen",
        "used_at",
        "watched",
    )

    def __init__(self, account: AccountNo, device: DeviceNo) -> None:
        self.account = account
        self.device = device
        self.rooms: dict[RoomNo, Own] = {}
        self.loaded = Pos(-1)
        """Every move of the account's memberships after this position is in `rooms`; -1: nothing is loaded."""
        self.seen = Pos(0)
        """The head of the log when this session last looked."""
        self.resets = -1
        """How often the tail had lost its records when the rooms were loaded."""
        self.ended = False
        self.last: dict[RoomNo, Pos] = {}
        """The last record of each room, of those after `loaded`; in the order of these records."""
        self.last_pos = Pos(0)
        self.moved: set[RoomNo] = set()
        """Rooms in which the own membership moved, not yet read."""
        self.watched: set[RoomNo] = set()
        self.polls = 0
        self.used_at = 0.0
        self.lock = asyncio.Lock()
        self.ignored = NOBODY
        """The user ids of those of whom only state is told."""
        self._told: dict[RoomNo, dict[MemberRef, Pos]] = {}
        self._told_by: Filter | None = None
        self._told_count = 0
        self._waiting: tuple[Waiting, ...] = ()

    def __call__(self, record: Record | None) -> None:
        """The tail has something: a record, or None for what has no place in the log."""
        if record is not None:
            self.last_pos = record.pos
            if record.kind is LogKind.MEMBERSHIP:
                self.moved.add(record.room)
            elif not record.account:
                self._touch(record.room, record.pos)
                if record.kind is LogKind.RECEIPTS:
                    return  # they ride with what comes next in their room, see `Tail`
                if record.kind is LogKind.HEAL and record.room in self.rooms:
                    self.rooms[record.room].healed = record.pos
        for waiting in self._waiting:
            waiting.has_news()

    def _touch(self, room: RoomNo, pos: Pos) -> None:
        self.last.pop(room, None)
        self.last[room] = pos

    def touched_after(self, pos: Pos) -> list[RoomNo]:
        """The rooms with a record after `pos`. Cost: one step per room found."""
        return [room for room, _ in takewhile(lambda each: each[1] > pos, reversed(self.last.items()))]

    def follow(self, rooms: Collection[RoomNo], came_or_went: Iterable[RoomNo], head: Pos) -> None:
        """Watch `rooms` from now on. Of those that `came_or_went`, the tail may have told something unheard."""
        for room in came_or_went:
            self._touch(room, head)
            self.last_pos = head
        self.watched = set(rooms)

    def ignore(self, ignored: frozenset[str]) -> None:
        """Whom the account ignores from now on: what was counted before is counted anew."""
        if ignored != self.ignored:
            self.ignored = ignored
            for own in self.rooms.values():
                own.unread = None

    def wait(self, waiting: Waiting) -> None:
        """Tell `waiting` of the next call of the tail. The caller saw that there is none yet."""
        self._waiting = (*self._waiting, waiting)

    def wait_no_more(self, waiting: Waiting) -> None:
        self._waiting = tuple(other for other in self._waiting if other is not waiting)

    def wake(self) -> None:
        self(None)

    # Which members a lazy-loading client has been told of: by the answer that ended where.

    def was_told(self, room: RoomNo, ref: MemberRef, since: Pos, filter: Filter) -> bool:
        """Whether a client that holds a token for `since` has the member's event.

        With one filter, what an answer shows is shown by every way to its end. With another it may not have been.
        """
        told = self._told.get(room)
        return filter is self._told_by and told is not None and ref in told and told[ref] <= since

    def tell(self, room: RoomNo, ref: MemberRef, upto: Pos, filter: Filter) -> None:
        if filter is not self._told_by or self._told_count >= TOLD_MAX:
            self._told = {}  # then members are told again, which is allowed
            self._told_by, self._told_count = filter, 0
        told = self._told.setdefault(room, {})
        if ref not in told:
            self._told_count += 1
        told[ref] = upto

    def before(self, own: Own, since: Pos, upto: Pos) -> Before:
        """The own membership at `since`, which must not lie before `loaded`, and what it was until the last move."""
        then, now = own.at(since), own.at(upto)
        end = upto if now is None else now.pos
        membership = 0 if then is None else then.membership
        between = (move.membership for move in own.history if since < move.pos < end)
        return Before(membership, membership != Membership.JOIN or any(m != Membership.JOIN for m in between))


class Sessions:
    """The sessions of one cell."""

    def __init__(self, tail: Tail, reads: SyncReads, server_name: Callable[[HomeNo], str]) -> None:
        self._tail = tail
        self._reads = reads
        self._server_name = server_name
        self._sessions: dict[Key, Session] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, account: AccountNo, device: DeviceNo) -> Session:
        """The device's session. Each `open` is followed by a `close`."""
        session = self._sessions.get((account, device))
        if session is None:
            session = self._sessions[account, device] = Session(account, device)
        session.polls += 1
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._end_idle)
        return session

    def close(self, session: Session) -> None:
        session.polls -= 1
        session.used_at = asyncio.get_running_loop().time()

    def end(self, account: AccountNo, device: DeviceNo | None = None) -> None:
        """The account, or one device of it, was logged out: let its polls return."""
        for key in [key for key in self._sessions if key[0] == account and device in {None, key[1]}]:
            self._drop(self._sessions[key])

    def nudge(self, room: RoomNo) -> None:
        """Wake the polls of a room for something that has no place in the log."""
        self._tail.nudge(room)

    def stop(self) -> None:
        """Let every poll return: the node is stopping."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for session in list(self._sessions.values()):
            self._drop(session)

    async def refresh(self, session: Session) -> Pos:
        """Bring what the session knows of its rooms up to the head of the log, which is returned.

        Between the look at the head and the return nothing is awaited. A session that has ended hears of nothing any
        more, and is complete up to where it was loaded.
        Cost: one statement for a new session or after a move of the own membership, else nothing.
        """
        async with session.lock:
            missed = session.moved and self._tail.start > session.seen
            if session.resets != self._tail.resets or missed:
                await self._load(session)
            while session.moved:
                await self._read_moves(session)
            if session.ended:
                return session.loaded
            session.seen = self._tail.head
            return self._tail.head

    async def _load(self, session: Session) -> None:
        self._tail.subscribe(session, (), (session.account,))
        session.moved.clear()
        resets, head = self._tail.resets, self._tail.head
        rows = await self._reads.my_rooms(session.account, head)
        heard = session.rooms  # of rooms that were watched meanwhile
        session.rooms = {row.room: self._own(row) for row in rows}
        for own in session.rooms.values():
            if own.room in heard:
                own.healed = max(own.healed, heard[own.room].healed)
        session.resets, session.loaded = resets, head
        self._watch(session)

    async def _read_moves(self, session: Session) -> None:
        rooms, session.moved = session.moved, set()  # what moves while they are read is read once more
        try:
            rows = await self._reads.my_rooms(session.account, self._tail.head, rooms)
        except BaseException:
            session.moved |= rooms
            raise
        for row in rows:
            own = self._own(row)
            known = session.rooms.get(row.room)
            history = [] if known is None else known.history
            since = history[-1].pos if history else max(session.loaded, self._tail.start)
            moves = [*history, *self._moves(own, since), *own.history]
            own.history = sorted({move.seq: move for move in moves}.values(), key=_seq)
            own.healed = max(own.healed, START if known is None else known.healed)
            session.rooms[row.room] = own
        self._watch(session)

    def _moves(self, own: Own, since: Pos) -> list[Moment]:
        """The own memberships that the tail tells of after `since`."""
        events = (record.event for record in self._tail.of_room(own.room, max(since, self._tail.start)))
        return [
            Moment(event.env.seq, event.pos, event.env.value or 0)
            for event in events
            if event is not None and is_about(event.env, own.ref)
        ]

    def _own(self, row: MyRoom) -> Own:
        return Own(
            room=row.room,
            room_id=intern(room_id_text(row.room_id, row.version, self._server_name(row.home))),
            ref=row.ref,
            home=row.home,
            version=row.version,
            from_seq=row.from_seq,
            forgotten=row.forgotten,
            history=[Moment(row.seq, row.pos, row.membership)],
            healed=row.healed,
            leaving=row.leaving,
        )

    def _watch(self, session: Session) -> None:
        """Subscribe to the rooms that the account is in, and to no others."""
        if session.ended:
            self._tail.unsubscribe(session, (), (session.account,))
            return
        joined = {room for room, own in session.rooms.items() if own.history[-1].membership == Membership.JOIN}
        new = joined - session.watched
        self._tail.subscribe(session, new)
        self._tail.unsubscribe(session, session.watched - joined)
        for room in new:  # nobody told the session of what came before it watched
            heals = [r.pos for r in self._tail.of_room(room, self._tail.start) if r.kind is LogKind.HEAL]
            session.rooms[room].healed = max(session.rooms[room].healed, *heals, START)
        session.follow(joined, joined ^ session.watched, self._tail.head)

    def _end_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for session in [session for session in self._sessions.values() if not session.polls]:
            if session.used_at + IDLE_S <= now:
                self._drop(session)
        self._sweep = None
        if self._sessions:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._end_idle)

    def _drop(self, session: Session) -> None:
        self._sessions.pop((session.account, session.device), None)
        self._tail.unsubscribe(session, session.watched, (session.account,))
        session.watched = set()
        session.ended = True
        session.wake()


def _seq(moment: Moment) -> Seq:
    return moment.seq
