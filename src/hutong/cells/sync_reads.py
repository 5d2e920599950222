"""What `/sync` reads from the positioned tables: a fixed number of statements, however many rooms it answers about.

Everything is read as of a position of the log, so that what was committed meanwhile waits for the next answer.
Within a room, positions and seqs run in the same order, except that state which arrived with a snapshot has seqs below
the room's `from_seq`: a timeline never shows those.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from hutong.cells.codes import ReceiptType
from hutong.cells.records import Envelope, Event, ReceiptRow
from hutong.cells.rows import EVENT_COLUMNS, columns, event_of
from hutong.cells.unread_reads import LOUD, UNREAD, LoudEvent, UnreadRow, unread_row
from hutong.ids import AccountNo, HomeNo, MemberRef, Pos, RoomNo, Seq, TypeCode
from hutong.rooms.event_types import HISTORY_VISIBILITY, MEMBER, Membership

if TYPE_CHECKING:
    from asyncpg import Pool, Record

HEROES_MAX: Final = 5

_E: Final = ", ".join(f"e.{column.strip()}" for column in EVENT_COLUMNS.split(","))

_MY_ROOMS = f"""
    SELECT m.room, m.ref, m.forgotten, r.room_id, r.home, r.version, r.from_seq, now.seq, now.pos, now.value,
        coalesce(h.pos, 0) AS healed, m.home AS own_home, l.event_id, l.seq AS left_after, l.ends, l.pos AS left_pos,
        l.minute
    FROM members m
    JOIN rooms r ON r.room = m.room
    LEFT JOIN heals h ON h.room = m.room AND h.pos <= $2
    LEFT JOIN leaving l ON l.room = m.room AND l.ref = m.ref AND l.pos <= $2
    JOIN LATERAL (
        SELECT seq, pos, value FROM events e
        WHERE e.room = m.room AND e.type = {MEMBER} AND e.skey = m.ref AND e.pos <= $2
        ORDER BY e.seq DESC LIMIT 1
    ) now ON true
    WHERE m.account = $1 AND ($3::int8[] IS NULL OR m.room = ANY($3))"""
_MEMBERSHIPS_BEFORE = f"""
    SELECT w.room, coalesce(e.value, 0) AS membership, EXISTS (
        SELECT FROM events e
        WHERE e.room = w.room AND e.type = {MEMBER} AND e.skey = w.ref AND e.pos > $4 AND e.pos < w.move
            AND e.value <> {Membership.JOIN}
    ) AS moved_out
    FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w(room, ref, move)
    LEFT JOIN LATERAL (
        SELECT value FROM events e
        WHERE e.room = w.room AND e.type = {MEMBER} AND e.skey = w.ref AND e.pos <= $4
        ORDER BY e.seq DESC LIMIT 1
    ) e ON true"""
_TIMELINES = f"""
    SELECT {_E}
    FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) AS w(room, after, upto, from_seq)
    CROSS JOIN LATERAL (
        SELECT {EVENT_COLUMNS} FROM events e
        WHERE e.room = w.room AND e.pos > w.after AND e.pos <= w.upto AND e.seq >= w.from_seq
            AND ($5::int8[] IS NULL OR e.type = ANY($5) OR e.type < 0)
        ORDER BY e.pos DESC LIMIT $6
    ) e"""
_LAST_OF_EACH = f"""
    k AS (
        SELECT w.room, w.start, w.upto, w.base, s.type, s.skey FROM w JOIN state s ON s.room = w.room AND s.seq > w.base
        UNION ALL
        SELECT w.room, w.start, w.upto, w.base, {MEMBER}, m.ref FROM w JOIN members m
            ON m.room = w.room AND m.seq > w.base AND m.membership <> 0 AND $4
    )
    SELECT {_E} FROM k CROSS JOIN LATERAL (
        SELECT {EVENT_COLUMNS} FROM events e
        WHERE e.room = k.room AND e.type = k.type AND e.skey = k.skey
            AND e.seq < k.start AND e.seq > k.base AND e.pos <= k.upto
        ORDER BY e.seq DESC LIMIT 1
    ) e
    WHERE $5::int8[] IS NULL OR k.type = ANY($5) OR k.type < 0"""
_STATE_AT = f"""
    WITH w AS (
        SELECT room, start, upto, 0::int8 AS base
        FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w(room, start, upto)
    ), {_LAST_OF_EACH}"""
_STATE_SINCE = f"""
    WITH w AS (
        SELECT w.room, w.start, w.upto, coalesce(b.seq, 0) AS base
        FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w(room, start, upto)
        LEFT JOIN LATERAL (
            SELECT seq FROM events e WHERE e.room = w.room AND e.pos <= $6 ORDER BY e.pos DESC LIMIT 1
        ) b ON true
    ), {_LAST_OF_EACH}"""
_MEMBERS_AT = f"""
    SELECT {_E}
    FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) AS w(room, ref, start, upto)
    CROSS JOIN LATERAL (
        SELECT {EVENT_COLUMNS} FROM events e
        WHERE e.room = w.room AND e.type = {MEMBER} AND e.skey = w.ref AND e.seq < w.start AND e.pos <= w.upto
        ORDER BY e.seq DESC LIMIT 1
    ) e"""
_EVENTS_AT = f"""
    SELECT {_E} FROM unnest($1::int8[], $2::int8[]) AS w(room, seq)
    JOIN events e ON e.room = w.room AND e.seq = w.seq"""
_RECEIPTS = f"""
    SELECT r.room, r.ref, r.rtype, r.thread, r.seq, r.minute, r.pos
    FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w(room, ref, after)
    JOIN receipts r ON r.room = w.room AND r.pos > w.after AND r.pos <= $4
        AND (r.rtype = {ReceiptType.READ} OR r.ref = w.ref)
    ORDER BY r.pos"""
_ACCOUNT_DATA = """
    SELECT room, id, body, pos FROM account_data
    WHERE account = $1 AND pos <= $3 AND (pos > $2 OR room = ANY($4))
    ORDER BY pos"""
_MARKER = """
    SELECT e.event_id FROM receipts r JOIN events e ON e.room = r.room AND e.seq = r.seq
    WHERE r.room = $1 AND r.ref = $2 AND r.rtype = $3 AND r.thread = 0"""
_COUNTS = f"""
    SELECT room, count(*) FILTER (WHERE membership = {Membership.JOIN}) AS joined,
        count(*) FILTER (WHERE membership = {Membership.INVITE}) AS invited
    FROM members WHERE room = ANY($1) GROUP BY room"""
_HEROES = f"""
    SELECT w.room, m.ref, m.membership FROM unnest($1::int8[]) AS w(room)
    CROSS JOIN LATERAL (
        SELECT ref, membership, seq FROM members m WHERE m.room = w.room AND m.membership <> 0
        ORDER BY m.membership NOT IN ({Membership.JOIN}, {Membership.INVITE}), m.seq LIMIT {HEROES_MAX + 1}
    ) m
    ORDER BY m.membership NOT IN ({Membership.JOIN}, {Membership.INVITE}), m.seq"""
_HISTORIES = f"""
    SELECT w.room, e.type, e.seq, e.value FROM unnest($1::int8[], $2::int8[]) AS w(room, ref)
    CROSS JOIN LATERAL (
        SELECT type, seq, value FROM events e WHERE e.room = w.room AND e.type = {MEMBER} AND e.skey = w.ref
        UNION ALL
        SELECT type, seq, value FROM events e WHERE e.room = w.room AND e.type = {HISTORY_VISIBILITY} AND e.skey = 0
    ) e
    ORDER BY w.room, e.seq"""


class MyRoom(Struct, frozen=True):
    """One room of an account, and the last event about the account's own membership of it."""

    room: RoomNo
    ref: MemberRef
    forgotten: bool
    room_id: bytes
    home: HomeNo
    version: int
    from_seq: Seq
    seq: Seq
    pos: Pos
    membership: int
    healed: Pos = Pos(0)
    """When the room was last to be told anew, after a cut; 0: never."""
    leaving: Event | None = None
    """The event of a leaving that the room's home has not heard of; then `seq`, `pos` and `membership` are its."""


class Moment(Struct, frozen=True):
    """An event about somebody's membership."""

    seq: Seq
    pos: Pos
    membership: int


class AccountDataRow(Struct, frozen=True):
    room: RoomNo
    id: bytes
    body: bytes


class SummaryRow(Struct, frozen=True):
    joined: int
    invited: int
    heroes: tuple[MemberRef, ...]
    """Joined or invited, in the order in which they came, one more than a summary names; else those who left."""


class Histories(Struct, frozen=True):
    """(seq, value) ascending: of a person's membership, and of the room's history visibility."""

    membership: list[tuple[Seq, int]]
    visibility: list[tuple[Seq, int]]


class SyncReads:
    """Cost of each method: one statement."""

    def __init__(self, pool: "Pool[Record]") -> None:
        self._pool = pool
        self.statements = 0
        """Statements so far: tests count them."""

    async def _fetch(self, sql: str, *arguments: Any) -> "list[Record]":
        self.statements += 1
        return await self._pool.fetch(sql, *arguments)

    async def my_rooms(self, account: AccountNo, upto: Pos, only: Collection[RoomNo] | None = None) -> list[MyRoom]:
        """Every room in which the account has or had a membership at `upto`."""
        rows = await self._fetch(_MY_ROOMS, account, upto, None if only is None else list(only))
        return [_my_room(row) for row in rows]

    async def memberships_before(
        self, members: Iterable[tuple[RoomNo, MemberRef, Pos]], since: Pos
    ) -> dict[RoomNo, tuple[int, bool]]:
        """Each member's own membership at `since` (0: none), and whether it was another than joined between that and
        the position of its last move."""
        rows = await self._fetch(_MEMBERSHIPS_BEFORE, *columns(members, 3), since)
        return {room: (membership, moved_out) for room, membership, moved_out in rows}

    async def timelines(
        self, windows: Iterable[tuple[RoomNo, Pos, Pos, Seq]], codes: Sequence[TypeCode] | None, limit: int
    ) -> dict[RoomNo, list[Event]]:
        """The last `limit` events of each window (room, after, up to, from seq), ascending.

        `codes`: only these types, and those that are no type of the specification.
        """
        found: dict[RoomNo, list[Event]] = {}
        for row in await self._fetch(_TIMELINES, *columns(windows, 4), codes, limit):
            found.setdefault(row["room"], []).append(event_of(row))
        for events in found.values():
            events.sort(key=lambda event: event.env.seq)
        return found

    async def state_at(
        self, starts: Iterable[tuple[RoomNo, Seq, Pos]], codes: Sequence[TypeCode] | None, *, members: bool
    ) -> dict[RoomNo, list[Event]]:
        """The state of each room (room, start, up to) just before a seq, as of a position.

        `members`: with all of its m.room.member events. `codes`: as in `timelines`.
        """
        return _by_room(await self._fetch(_STATE_AT, *columns(starts, 3), members, codes))

    async def state_since(
        self, starts: Iterable[tuple[RoomNo, Seq, Pos]], codes: Sequence[TypeCode] | None, since: Pos
    ) -> dict[RoomNo, list[Event]]:
        """What changed of each room's state after `since`; otherwise as `state_at`."""
        return _by_room(await self._fetch(_STATE_SINCE, *columns(starts, 3), True, codes, since))

    async def members_at(self, members: Iterable[tuple[RoomNo, MemberRef, Seq, Pos]]) -> dict[RoomNo, list[Event]]:
        """The m.room.member event of each (room, ref) just before a seq, as of a position."""
        return _by_room(await self._fetch(_MEMBERS_AT, *columns(members, 4)))

    async def events_at(self, places: Iterable[tuple[RoomNo, Seq]]) -> dict[tuple[RoomNo, Seq], Event]:
        rows = await self._fetch(_EVENTS_AT, *columns(places, 2))
        return {(row["room"], row["seq"]): event_of(row) for row in rows}

    async def receipts(
        self, members: Iterable[tuple[RoomNo, MemberRef, Pos]], upto: Pos
    ) -> dict[RoomNo, list[ReceiptRow]]:
        """The receipts that moved after a position in each room, as a member (room, ref, after) may see them."""
        found: dict[RoomNo, list[ReceiptRow]] = {}
        for room, ref, rtype, thread, seq, minute, pos in await self._fetch(_RECEIPTS, *columns(members, 3), upto):
            row = ReceiptRow(room=room, ref=ref, rtype=rtype, thread=thread, seq=seq, minute=minute, pos=pos)
            found.setdefault(room, []).append(row)
        return found

    async def marker(self, room: RoomNo, ref: MemberRef, rtype: ReceiptType) -> bytes | None:
        """The id of the event at which somebody's unthreaded marker stands; None: nowhere that this cell knows."""
        rows = await self._fetch(_MARKER, room, ref, int(rtype))
        return rows[0]["event_id"].bytes if rows else None

    async def account_data(
        self, account: AccountNo, since: Pos, upto: Pos, anew: Collection[RoomNo] = ()
    ) -> list[AccountDataRow]:
        """What the account stored after `since`, sealed; for rooms in `anew`, everything."""
        rows = await self._fetch(_ACCOUNT_DATA, account, since, upto, list(anew))
        return [AccountDataRow(row["room"], row["id"].bytes, row["body"]) for row in rows]

    async def unread(
        self, account: AccountNo, members: Iterable[tuple[RoomNo, MemberRef, Seq]], upto: Pos
    ) -> dict[RoomNo, UnreadRow]:
        """What the account has not read of each room (room, own ref, seq of the own join)."""
        rows = await self._fetch(UNREAD, *columns(members, 3), account, upto)
        return {row["room"]: unread_row(row) for row in rows}

    async def loud(self, places: Iterable[tuple[RoomNo, Seq]], upto: Pos) -> list[LoudEvent]:
        """What notifies, shouts or names somebody in each room after a seq, up to a limit."""
        return [LoudEvent(*row) for row in await self._fetch(LOUD, *columns(places, 2), upto)]

    async def summaries(self, rooms: Collection[RoomNo]) -> dict[RoomNo, SummaryRow]:
        """Who is in each room now. Cost: two statements, which read the rooms' members."""
        heroes: dict[RoomNo, list[tuple[MemberRef, int]]] = {}
        for room, ref, membership in await self._fetch(_HEROES, list(rooms)):
            heroes.setdefault(room, []).append((ref, membership))
        active = (Membership.JOIN, Membership.INVITE)
        summaries = {}
        for room, joined, invited in await self._fetch(_COUNTS, list(rooms)):
            refs = tuple(ref for ref, _ in heroes.get(room, ()))
            present = tuple(ref for ref, membership in heroes.get(room, ()) if membership in active)
            summaries[room] = SummaryRow(joined, invited, present if len(present) > 1 else refs)
        return summaries

    async def histories(self, members: Iterable[tuple[RoomNo, MemberRef]]) -> dict[RoomNo, Histories]:
        """What decides which of each room's events the member may see."""
        found: dict[RoomNo, Histories] = {}
        for room, type, seq, value in await self._fetch(_HISTORIES, *columns(members, 2)):
            histories = found.setdefault(room, Histories([], []))
            (histories.membership if type == MEMBER else histories.visibility).append((seq, value))
        return found


def _my_room(row: "Record") -> MyRoom:
    room, ref, forgotten, room_id, home, version, from_seq, seq, pos, membership, healed = row[:11]
    own_home, left_id, left_after, ends, left_pos, minute = row[11:]
    leaving = None
    if left_id is not None:
        env = Envelope(
            room=room, seq=Seq(left_after + 1), event_id=left_id.bytes, home=own_home, sender=ref, type=MEMBER,
            skey=ref, value=Membership.LEAVE, rel_seq=None, rel_type=None, minute=minute, notes=0, prev_seq=ends,
            redacted_by=None,
        )  # fmt: skip
        leaving = Event(pos=left_pos, env=env)
        seq, pos, membership = env.seq, left_pos, Membership.LEAVE
    return MyRoom(
        room, ref, forgotten, room_id.bytes, home, version, from_seq, seq, pos, membership, healed, leaving
    )  # fmt: skip


def _by_room(rows: "Iterable[Record]") -> dict[RoomNo, list[Event]]:
    found: dict[RoomNo, list[Event]] = {}
    for row in rows:
        found.setdefault(row["room"], []).append(event_of(row))
    return found
