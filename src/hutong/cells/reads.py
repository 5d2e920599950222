"""Committed reads of the positioned tables, one statement each. What `/sync` reads is in `sync_reads`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool
from asyncpg.pgproto.pgproto import UUID

from hutong.cells.codes import ContentState, LogKind, ReceiptType
from hutong.cells.messages import Marker, SightReply
from hutong.cells.records import Event, Leaving, Member, Txn
from hutong.cells.rows import EVENT_COLUMNS, MEMBER_COLUMNS, event_of, leaving_of, member_of
from hutong.ids import (
    BUCKETS,
    AccountNo,
    CellNo,
    DeviceNo,
    HomeNo,
    MemberRef,
    Minute,
    Pos,
    RegionNo,
    RoomNo,
    Seq,
    StateKeyCode,
    TypeCode,
)
from hutong.rooms.event_types import HISTORY_VISIBILITY, MEMBER, Membership

_BY_ID = f"SELECT {EVENT_COLUMNS} FROM events WHERE event_id = $1"
_BY_SEQ = f"SELECT {EVENT_COLUMNS} FROM events WHERE room = $1 AND seq = ANY($2::int8[])"
_AFTER = f"SELECT {EVENT_COLUMNS} FROM events WHERE room = $1 AND seq > $2 ORDER BY seq LIMIT $3"
_BEFORE = f"SELECT {EVENT_COLUMNS} FROM events WHERE room = $1 AND seq < $2 AND seq >= $4 ORDER BY seq DESC LIMIT $3"
_STATE_AT = f"""
    SELECT DISTINCT ON (type, skey) {EVENT_COLUMNS} FROM events
    WHERE room = $1 AND skey IS NOT NULL AND seq <= $2 ORDER BY type, skey, seq DESC"""
_STATE_PAGE = f"""
    SELECT DISTINCT ON (type, skey) {EVENT_COLUMNS} FROM events
    WHERE room = $1 AND skey IS NOT NULL AND seq <= $2 AND (type, skey) > ($3, $4)
    ORDER BY type, skey, seq DESC LIMIT $5"""
_STATE_OF_FEW = f"""
    (SELECT DISTINCT ON (type, skey) {EVENT_COLUMNS} FROM events
        WHERE room = $1 AND type < {MEMBER} AND skey IS NOT NULL AND seq <= $2 ORDER BY type, skey, seq DESC)
    UNION ALL
    (SELECT DISTINCT ON (type, skey) {EVENT_COLUMNS} FROM events
        WHERE room = $1 AND type > {MEMBER} AND skey IS NOT NULL AND seq <= $2 ORDER BY type, skey, seq DESC)
    UNION ALL
    (SELECT DISTINCT ON (type, skey) {EVENT_COLUMNS} FROM events
        WHERE room = $1 AND type = {MEMBER} AND skey = ANY($3::int8[]) AND seq <= $2 ORDER BY type, skey, seq DESC)"""
_STATE_NOW = f"""
    SELECT {", ".join("e." + name for name in EVENT_COLUMNS.split(", "))} FROM state s
    JOIN events e ON e.room = s.room AND e.seq = s.seq WHERE s.room = $1
    UNION ALL
    SELECT {", ".join("e." + name for name in EVENT_COLUMNS.split(", "))} FROM members m
    JOIN events e ON e.room = m.room AND e.seq = m.seq WHERE m.room = $1 AND m.membership > 0"""
_STATE_ONE = f"""
    SELECT {EVENT_COLUMNS} FROM events
    WHERE room = $1 AND type = $2 AND skey = $3 AND seq <= $4 ORDER BY seq DESC LIMIT 1"""
_STRIPPED = f"""
    SELECT {", ".join("e." + name for name in EVENT_COLUMNS.split(", "))} FROM (
        SELECT seq FROM state WHERE room = $1 AND type = ANY($3::int8[]) AND skey = 0
        UNION SELECT seq FROM members WHERE room = $1 AND ref = $2 AND seq > 0
        UNION SELECT i.seq FROM members m JOIN events e ON e.room = m.room AND e.seq = m.seq
            JOIN members i ON i.room = m.room AND i.ref = e.sender AND i.seq > 0
            WHERE m.room = $1 AND m.ref = $2
    ) s JOIN events e ON e.room = $1 AND e.seq = s.seq"""
_SIGHT = f"""
    SELECT type, seq, value FROM events WHERE room = $1 AND value IS NOT NULL AND (
        (type = {HISTORY_VISIBILITY} AND skey = 0) OR (type = {MEMBER} AND skey = $2)) ORDER BY seq"""
_LEFT_AT = f"""
    SELECT coalesce(
        (SELECT seq FROM leaving WHERE room = $1 AND ref = $2 AND EXISTS (
            SELECT FROM events e WHERE e.room = $1 AND e.seq = ends AND e.value = {Membership.JOIN})),
        (SELECT min(seq) FROM events WHERE room = $1 AND type = {MEMBER} AND skey = $2 AND seq > (
            SELECT max(seq) FROM events
            WHERE room = $1 AND type = {MEMBER} AND skey = $2 AND value = {Membership.JOIN})))"""
_HEAD = "SELECT coalesce(max(seq), 0) FROM events WHERE room = $1"
_SEQ_AT = "SELECT coalesce(max(seq), 0) FROM events WHERE room = $1 AND pos <= $2 AND pos > 0"
_MEMBER = f"SELECT {MEMBER_COLUMNS} FROM members WHERE account = $1 AND room = $2"
_MEMBERS_OF = f"SELECT {MEMBER_COLUMNS} FROM members WHERE account = ANY($1::int8[]) AND room = $2"
_MEMBERS = f"SELECT {MEMBER_COLUMNS} FROM members WHERE room = $1 AND membership = ANY($2::int2[])"
_MEMBERS_BY_REF = f"SELECT {MEMBER_COLUMNS} FROM members WHERE room = $1 AND ref = ANY($2::int8[])"
_PEOPLE_OF = f"SELECT ref, home FROM members WHERE room = $1 AND home / {BUCKETS} = $2 ORDER BY seq DESC LIMIT $3"
_REGIONS_IN = f"SELECT DISTINCT room, home / {BUCKETS} AS region FROM members WHERE room = ANY($1::int8[])"
_PEOPLE_IN = f"""
    SELECT room, ref FROM members WHERE room = ANY($1::int8[]) AND home / {BUCKETS} = $2 ORDER BY seq DESC LIMIT $3"""
_REFS_IN = "SELECT account, room, ref FROM members WHERE account = ANY($1::int8[]) AND room = ANY($2::int8[])"
_JOINED_FIRST = f"""
    SELECT {MEMBER_COLUMNS} FROM members
    WHERE room = $1 AND membership = {Membership.JOIN} AND ref <> ALL($2::int8[]) ORDER BY seq LIMIT $3"""
_ROOMS_OF = f"SELECT {MEMBER_COLUMNS} FROM members WHERE account = $1 AND membership = ANY($2::int2[])"
_ROOM = "SELECT room, room_id, home, version, from_seq, proj FROM rooms WHERE room = $1"
_NEW_REFS = f"""
    WITH made AS (
        INSERT INTO members (room, ref, account, home, membership, seq, forgotten)
        SELECT $1, ref, account, home, 0, 0, false
        FROM unnest($2::int8[], $3::int8[], $4::int4[]) AS n(ref, account, home) ON CONFLICT DO NOTHING
        RETURNING {MEMBER_COLUMNS}
    )
    SELECT {MEMBER_COLUMNS} FROM made
    UNION ALL SELECT {MEMBER_COLUMNS} FROM members WHERE account = ANY($3::int8[]) AND room = $1"""
_TXNS = "SELECT txn, event_id FROM txns WHERE account = $1 AND device = $2"
_UNSETTLED = f"SELECT id, room, room_home, account, state FROM content WHERE state <> {ContentState.LIVE}"
_LEAVING = "SELECT room, ref, account, event_id, seq, ends, pos, minute FROM leaving WHERE account = $1"
_MOVES_SINCE = f"""
    SELECT seq, sender, value FROM events
    WHERE room = $1 AND type = {MEMBER} AND skey = $2 AND seq > $3 ORDER BY seq"""
_CUTS = "SELECT cell FROM cuts"
_FOREIGN_HOMES = """
    SELECT room, home FROM rooms
    UNION SELECT room, home FROM members WHERE account IS NULL
    UNION SELECT r.room, e.home FROM rooms r JOIN events e ON e.room = r.room WHERE r.from_seq < 0"""
_WAITING_IN = f"""
    SELECT room, ref, account FROM members WHERE room = ANY($1::int8[]) AND account IS NOT NULL
        AND membership IN ({Membership.INVITE}, {Membership.KNOCK})"""
_PENDING_TXN = "SELECT account, device, txn FROM txns WHERE account = $1 AND event_id = $2"
_CONTENT = "SELECT id, account, state, body FROM content WHERE id = ANY($1::uuid[])"
_RECEIPTS = f"""
    SELECT ref, rtype, thread, seq, minute FROM receipts
    WHERE room = $1 AND rtype = {ReceiptType.READ} AND (ref, rtype, thread) > ($2, $3, $4)
    ORDER BY ref, rtype, thread LIMIT $5"""
_ACCOUNT_DATA = "SELECT id, body FROM account_data WHERE account = $1 AND room = $2 AND type_key = $3"
_BY_SENDER = "SELECT event_id FROM events WHERE room = $1 AND sender = $2"
_DELETE_ALL_OF = (
    "DELETE FROM content WHERE account = $1",
    "DELETE FROM leaving WHERE account = $1",
    "DELETE FROM txns WHERE account = $1",
    "DELETE FROM account_data WHERE account = $1",
    "DELETE FROM highlights WHERE account = $1",
)
_ACCOUNTS_IN = f"""
    SELECT DISTINCT account FROM members
    WHERE room = ANY($1::int8[]) AND account IS NOT NULL AND membership = {Membership.JOIN}"""
_HOMES_IN = f"""
    SELECT DISTINCT room, home FROM members WHERE room = ANY($1::int8[]) AND membership = {Membership.JOIN}"""
_SIZES = f"""
    SELECT room, count(*) AS size FROM members WHERE room = ANY($1::int8[]) AND membership = {Membership.JOIN}
    GROUP BY room"""
# A log row of an event is the last one of its batch, so the event found is not younger than the position.
_MINUTE_AT = f"""
    SELECT e.minute FROM log l JOIN events e ON e.room = l.room AND e.seq = l.a
    WHERE l.pos <= $1 AND l.kind = {LogKind.EVENT} ORDER BY l.pos DESC LIMIT 1"""
_VOIDED = "SELECT event_id FROM voided"
FIRST = (-(2**63), 0, 0)
"""Before every receipt."""


@dataclass(frozen=True)
class Reads:
    """Each method is one statement on the pool, and sees what is committed."""

    pool: "Pool[Any]"

    async def alive(self) -> None:
        """Raises what the database raises when it does not answer."""
        await self.pool.execute("SELECT")

    async def event_by_id(self, event_id: bytes) -> Event | None:
        row = await self.pool.fetchrow(_BY_ID, UUID(event_id))
        return None if row is None else event_of(row)

    async def events(self, room: RoomNo, seqs: Iterable[Seq]) -> dict[Seq, Event]:
        rows = await self.pool.fetch(_BY_SEQ, room, list(seqs))
        return {row["seq"]: event_of(row) for row in rows}

    async def page(self, room: RoomNo, start: Seq, limit: int, *, backwards: bool, floor: Seq = Seq(1)) -> list[Event]:
        """Up to `limit` events after `start`, or before it and newest first; none below `floor`."""
        if backwards:
            rows = await self.pool.fetch(_BEFORE, room, start, limit, floor)
        else:
            rows = await self.pool.fetch(_AFTER, room, start, limit)
        return [event_of(row) for row in rows]

    async def state_at(self, room: RoomNo, at: Seq, members: Iterable[MemberRef] | None = None) -> list[Event]:
        """The state events as they were after `at`; with `members` no m.room.member but theirs.

        Cost: reads the history of all state (see `state_now`), with `members` not that of other members.
        """
        if members is not None:
            return [event_of(row) for row in await self.pool.fetch(_STATE_OF_FEW, room, at, list(members))]
        return [event_of(row) for row in await self.pool.fetch(_STATE_AT, room, at)]

    async def state_page(self, room: RoomNo, at: Seq, after: tuple[int, int], limit: int) -> list[Event]:
        """The first `limit` of the state events as they were after `at`, beyond the type and state key `after`."""
        return [event_of(row) for row in await self.pool.fetch(_STATE_PAGE, room, at, *after, limit)]

    async def state_now(self, room: RoomNo) -> list[Event]:
        return [event_of(row) for row in await self.pool.fetch(_STATE_NOW, room)]

    async def state_event(self, room: RoomNo, type: TypeCode, skey: StateKeyCode, at: Seq) -> Event | None:
        row = await self.pool.fetchrow(_STATE_ONE, room, type, skey, at)
        return None if row is None else event_of(row)

    async def stripped(self, room: RoomNo, ref: MemberRef, types: Sequence[TypeCode]) -> list[Event]:
        """State of `types` with an empty state key, the m.room.member of `ref`, and that of who sent it."""
        return [event_of(row) for row in await self.pool.fetch(_STRIPPED, room, ref, types)]

    async def head(self, room: RoomNo) -> Seq:
        head: Seq = await self.pool.fetchval(_HEAD, room)
        return head

    async def seq_at(self, room: RoomNo, pos: Pos) -> Seq:
        """The last seq of `room` at or before a position of this cell's log."""
        seq: Seq = await self.pool.fetchval(_SEQ_AT, room, pos)
        return seq

    async def room(self, room: RoomNo) -> Any:
        """The row of `rooms`, or None."""
        return await self.pool.fetchrow(_ROOM, room)

    async def member(self, account: AccountNo, room: RoomNo) -> Member | None:
        row = await self.pool.fetchrow(_MEMBER, account, room)
        return None if row is None else member_of(row)

    async def members(self, room: RoomNo, memberships: Sequence[Membership]) -> list[Member]:
        return [member_of(row) for row in await self.pool.fetch(_MEMBERS, room, memberships)]

    async def members_by_ref(self, room: RoomNo, refs: Iterable[MemberRef]) -> dict[MemberRef, Member]:
        rows = await self.pool.fetch(_MEMBERS_BY_REF, room, list(refs))
        return {row["ref"]: member_of(row) for row in rows}

    async def people_of(self, room: RoomNo, region: RegionNo, limit: int) -> list[tuple[MemberRef, HomeNo]]:
        """Some of those who have to do with `room` and are at home in `region`, the latest first."""
        return [tuple(row) for row in await self.pool.fetch(_PEOPLE_OF, room, region, limit)]

    async def people_in(self, rooms: Iterable[RoomNo], region: RegionNo, limit: int) -> list[tuple[RoomNo, MemberRef]]:
        """The same for many rooms."""
        return [tuple(row) for row in await self.pool.fetch(_PEOPLE_IN, list(rooms), region, limit)]

    async def regions_in(self, rooms: Iterable[RoomNo]) -> list[tuple[RoomNo, RegionNo]]:
        """Where those who have or had to do with each of `rooms` are at home. Cost: reads all their members."""
        return [tuple(row) for row in await self.pool.fetch(_REGIONS_IN, list(rooms))]

    async def refs_in(
        self, accounts: Sequence[AccountNo], rooms: Iterable[RoomNo]
    ) -> dict[AccountNo, list[tuple[RoomNo, MemberRef]]]:
        """The refs that accounts of this cell have in any of `rooms`."""
        found: dict[AccountNo, list[tuple[RoomNo, MemberRef]]] = {}
        for account, room, ref in await self.pool.fetch(_REFS_IN, accounts, list(rooms)):
            found.setdefault(account, []).append((room, ref))
        return found

    async def joined_first(self, room: RoomNo, but: Iterable[MemberRef], limit: int) -> list[Member]:
        """The members of `room` whose last m.room.member is the oldest. Cost: reads all its members."""
        return [member_of(row) for row in await self.pool.fetch(_JOINED_FIRST, room, list(but), limit)]

    async def membership_at(self, room: RoomNo, ref: MemberRef, at: Seq) -> Membership | None:
        """The membership of `ref` after seq `at`; None when it had none."""
        event = await self.state_event(room, MEMBER, StateKeyCode(ref), at)
        return None if event is None or event.env.value is None else Membership(event.env.value)

    async def sight(self, room: RoomNo, ref: MemberRef) -> SightReply:
        rows = await self.pool.fetch(_SIGHT, room, ref)
        return SightReply(
            visibility=[(seq, value) for type, seq, value in rows if type == HISTORY_VISIBILITY],
            membership=[(seq, value) for type, seq, value in rows if type == MEMBER],
        )

    async def left_at(self, room: RoomNo, ref: MemberRef) -> Seq | None:
        """The seq at which `ref`, who is not in the room now, was in it last; None: they never were in it."""
        left: Seq | None = await self.pool.fetchval(_LEFT_AT, room, ref)
        return left

    async def rooms_of(self, account: AccountNo, memberships: Sequence[Membership]) -> list[Member]:
        return [member_of(row) for row in await self.pool.fetch(_ROOMS_OF, account, memberships)]

    async def accounts_in(self, rooms: Iterable[RoomNo]) -> list[AccountNo]:
        """The accounts of this cell that have joined one of `rooms`."""
        return [row["account"] for row in await self.pool.fetch(_ACCOUNTS_IN, list(rooms))]

    async def homes_in(self, rooms: Iterable[RoomNo]) -> list[tuple[RoomNo, HomeNo]]:
        """Where those who have joined each of `rooms` are at home."""
        return [(row["room"], row["home"]) for row in await self.pool.fetch(_HOMES_IN, list(rooms))]

    async def sizes(self, rooms: Iterable[RoomNo]) -> dict[RoomNo, int]:
        """How many have joined each of `rooms`."""
        return {row["room"]: row["size"] for row in await self.pool.fetch(_SIZES, list(rooms))}

    async def minute_at(self, pos: Pos) -> Minute:
        """A minute not later than that of the record at `pos`; 0 when the log says nothing about it."""
        return Minute(await self.pool.fetchval(_MINUTE_AT, pos) or 0)

    async def give_ref(self, room: RoomNo, ref: MemberRef, account: AccountNo, home: HomeNo) -> tuple[Member, bool]:
        """The member record of `account` in `room`, made with `ref` if there was none; whether it was made now. It has
        no position.
        """
        found = await self.give_refs(room, [(ref, account, home)])
        return found[account], found[account].ref == ref

    async def give_refs(
        self, room: RoomNo, wanted: Sequence[tuple[MemberRef, AccountNo, HomeNo]]
    ) -> dict[AccountNo, Member]:
        """The same for many accounts. Cost: one statement; one more when somebody else gives one at once."""
        refs, accounts, homes = zip(*wanted, strict=True)
        rows = await self.pool.fetch(_NEW_REFS, room, refs, accounts, homes)
        found = {row["account"]: member_of(row) for row in rows}
        return found if len(found) == len(set(accounts)) else await self.members_of(accounts, room)

    async def members_of(self, accounts: Sequence[AccountNo], room: RoomNo) -> dict[AccountNo, Member]:
        """The member records of accounts of this cell in `room`."""
        rows = await self.pool.fetch(_MEMBERS_OF, accounts, room)
        return {row["account"]: member_of(row) for row in rows}

    async def txns(self, account: AccountNo, device: DeviceNo) -> dict[bytes, bytes]:
        """The device's transactions that are kept: keyed hash -> event id."""
        return {txn: event_id.bytes for txn, event_id in await self.pool.fetch(_TXNS, account, device)}

    async def unsettled(self) -> list[tuple[bytes, RoomNo, HomeNo, AccountNo, ContentState]]:
        """The contents whose event is not known to have come to be: (id, room, room's home, account, state)."""
        rows = await self.pool.fetch(_UNSETTLED)
        return [(id.bytes, room, home, account, ContentState(state)) for id, room, home, account, state in rows]

    async def leaving(self, account: AccountNo) -> dict[RoomNo, Leaving]:
        """The leavings of an account of which the rooms' homes have not heard."""
        return {row["room"]: leaving_of(row) for row in await self.pool.fetch(_LEAVING, account)}

    async def stayed_until(self, room: RoomNo, ref: MemberRef, since: Seq) -> Seq:
        """The last m.room.member of somebody who joined by that at `since`, if all that came after it is their own
        and says that they are in; else `since`.
        """
        rows = await self.pool.fetch(_MOVES_SINCE, room, ref, since)
        stayed = all(row["sender"] == ref and row["value"] == Membership.JOIN for row in rows)
        return Seq(rows[-1]["seq"]) if rows and stayed else since

    async def cuts(self) -> list[CellNo]:
        """The cells that are cut off, or were when this cell stopped."""
        return [row["cell"] for row in await self.pool.fetch(_CUTS)]

    async def foreign_homes(self) -> list[tuple[RoomNo, HomeNo]]:
        """The home of each room here and those of its people elsewhere: whoever may have words to tell of it.

        Of a room that is not followed, those who invited are all the people. Cost: reads all members; once, after a
        cut that a restart fell into.
        """
        return [(room, home) for room, home in await self.pool.fetch(_FOREIGN_HOMES)]

    async def waiting_in(self, rooms: Iterable[RoomNo]) -> list[tuple[RoomNo, MemberRef, AccountNo]]:
        """The accounts of this cell that are invited to `rooms`, or knock."""
        return [tuple(row) for row in await self.pool.fetch(_WAITING_IN, list(rooms))]

    async def txn_of(self, account: AccountNo, event_id: bytes) -> Txn | None:
        """The transaction that made an event. Cost: reads all transactions of the account that are kept."""
        row = await self.pool.fetchrow(_PENDING_TXN, account, UUID(event_id))
        return None if row is None else Txn(row["account"], row["device"], row["txn"])

    async def contents(self, ids: Iterable[bytes]) -> dict[bytes, tuple[AccountNo, int, bytes]]:
        """id -> (account, state, sealed)."""
        rows = await self.pool.fetch(_CONTENT, [UUID(id) for id in ids])
        return {id.bytes: (account, state, body) for id, account, state, body in rows}

    async def receipts(self, room: RoomNo, after: tuple[int, int, int] = FIRST, limit: int = 1_000) -> list[Marker]:
        """The first `limit` public receipts of `room` beyond that of the member, type and thread `after`."""
        return [tuple(row) for row in await self.pool.fetch(_RECEIPTS, room, *after, limit)]

    async def account_data(self, account: AccountNo, room: RoomNo, type_key: bytes) -> tuple[bytes, bytes] | None:
        """(what it was sealed for, sealed)."""
        row = await self.pool.fetchrow(_ACCOUNT_DATA, account, room, type_key)
        return None if row is None else (row["id"].bytes, row["body"])

    async def events_by(self, room: RoomNo, sender: MemberRef) -> list[bytes]:
        """The ids of everything somebody said in a room. Cost: reads the whole room; for erasures only."""
        return [row["event_id"].bytes for row in await self.pool.fetch(_BY_SENDER, room, sender)]

    async def delete_all_of(self, account: AccountNo) -> None:
        """Delete what the positioned tables hold sealed for `account`, and what was derived. Has no position."""
        async with self.pool.acquire() as connection, connection.transaction():
            for statement in _DELETE_ALL_OF:
                await connection.execute(statement, account)

    async def all_voided(self) -> set[bytes]:
        return {row["event_id"].bytes for row in await self.pool.fetch(_VOIDED)}
