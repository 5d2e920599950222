"""One group commit: the rows of many operations as arrays in one statement.

A batch is filled synchronously, in the order of its operations, against the writer's memory. One statement, one round
trip, one flush: all of it is there afterwards, or none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from asyncpg import Connection
from asyncpg.pgproto.pgproto import UUID
from msgspec import structs

from hutong.cells import tables
from hutong.cells.codes import CellRole, ContentState, LogKind
from hutong.cells.memory import Counters
from hutong.cells.records import Envelope, Event, Leaving, Member, ReceiptRow, Record, Words
from hutong.engines.tables import Table
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, StateKeyCode, TypeCode

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Part:
    """One write within the statement: SQL over `unnest` arrays, `{rows}` standing for the call."""

    name: str
    types: tuple[str, ...]
    sql: str

    def numbered(self, first: int) -> str:
        arrays = ", ".join(f"${first + i}::{type}[]" for i, type in enumerate(self.types))
        return self.sql.replace("{rows}", f"unnest({arrays})")


def _insert(table: Table, conflict: str = "") -> Part:
    columns = [column.name for column in table.columns]
    names = ", ".join(columns)
    sql = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {{rows}} AS r({names}) {conflict}"
    return Part(f"put_{table.name}", tuple(column.type for column in table.columns), sql.rstrip())


def _upsert(table: Table, *columns: str) -> Part:
    sets = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return _insert(table, f"ON CONFLICT ({table.key}) DO UPDATE SET {sets}")


EVENTS = _insert(tables.EVENTS)
SNAPSHOT = replace(
    _insert(tables.EVENTS, "ON CONFLICT (room, seq) DO UPDATE SET redacted_by = excluded.redacted_by"),
    name="put_snapshot",
)
LOG = _insert(tables.LOG)
OUT = _insert(tables.OUT)
CONTENT = _insert(tables.CONTENT)
TXNS = _insert(tables.TXNS)
LEAVING = _upsert(tables.LEAVING, "event_id", "seq", "ends", "pos", "minute")
CUTS = _insert(tables.CUTS, "ON CONFLICT DO NOTHING")
HEALS = _upsert(tables.HEALS, "pos")
VOIDED = _insert(tables.VOIDED, "ON CONFLICT DO NOTHING")
HIGHLIGHTS = _insert(tables.HIGHLIGHTS, "ON CONFLICT DO NOTHING")
ROOMS = _upsert(tables.ROOMS, "from_seq", "proj")
STATE = _upsert(tables.STATE, "seq")
MEMBERS = _insert(
    tables.MEMBERS,
    "ON CONFLICT (room, ref) DO UPDATE SET account = coalesce(members.account, excluded.account), "
    "membership = excluded.membership, seq = excluded.seq, forgotten = excluded.forgotten",
)
ROOM_CELLS = _upsert(tables.ROOM_CELLS, "role", "from_seq")
IN_CURSOR = _insert(tables.IN_CURSOR, "ON CONFLICT DO NOTHING")
RECEIPTS = _upsert(tables.RECEIPTS, "seq", "minute", "pos")
ACCOUNT_DATA = _upsert(tables.ACCOUNT_DATA, "pos", "id", "body")
REDACTED = Part(
    "set_redacted",
    ("int8", "int8", "int8"),
    "UPDATE events e SET redacted_by = r.redacted_by FROM {rows} AS r(room, seq, redacted_by) "
    "WHERE e.room = r.room AND e.seq = r.seq",
)
CONTENT_LIVE = Part(
    "set_live",
    ("uuid",),
    f"UPDATE content c SET state = {ContentState.LIVE} FROM {{rows}} AS r(id) WHERE c.id = r.id",
)
CONTENT_GONE = Part("drop_content", ("uuid",), "DELETE FROM content c USING {rows} AS r(id) WHERE c.id = r.id")
TXNS_GONE = Part(
    "drop_txns",
    ("int8", "int8", "bytea"),
    "DELETE FROM txns t USING {rows} AS r(account, device, txn) "
    "WHERE t.account = r.account AND t.device = r.device AND t.txn = r.txn",
)
LEFT = Part(
    "drop_leaving",
    ("int8", "int8"),
    "DELETE FROM leaving l USING {rows} AS r(room, ref) WHERE l.room = r.room AND l.ref = r.ref",
)
CUT_OVER = Part("drop_cut", ("int4",), "DELETE FROM cuts c USING {rows} AS r(cell) WHERE c.cell = r.cell")
ORDER = (
    EVENTS, SNAPSHOT, LOG, OUT, CONTENT, TXNS, VOIDED, HIGHLIGHTS, ROOMS, STATE, MEMBERS, ROOM_CELLS, IN_CURSOR,
    RECEIPTS, ACCOUNT_DATA, REDACTED, CONTENT_LIVE, CONTENT_GONE, TXNS_GONE, LEAVING, LEFT, CUTS, CUT_OVER, HEALS,
)  # fmt: skip
_EMPTY: dict[Any, Row] = {}


class Batch:
    """The rows of one group commit. Later rows for the same key replace earlier ones, as one statement must have it."""

    def __init__(self, head: Pos, counters: Counters = ({}, {})) -> None:
        self.first = head
        self.counters = counters
        """What they were before this batch, should it not be written."""
        self.head = head
        self.records: list[Record] = []
        self.bells: dict[CellNo, list[Bell]] = {}
        """Rows of `out` by destination, to be pushed after the commit."""
        self.touched: set[RoomNo] = set()
        self.redactions: list[tuple[RoomNo, Seq, Seq]] = []
        """(room, seq, seq of the redaction): what readers must no longer be shown."""
        self.gone: list[bytes] = []
        """The ids of events whose words may not be kept in memory any more."""
        self.erased: list[tuple[RoomNo, MemberRef]] = []
        """People of whom nothing may be shown or kept in memory any more."""
        self._rows: dict[str, dict[Any, Row]] = {}
        self._receipts: dict[RoomNo, list[ReceiptRow]] = {}

    @property
    def empty(self) -> bool:
        return not self._rows and not self._receipts

    def put(self, part: Part, key: object, *values: object) -> None:
        """A row of `part`, its values in the order of the table's columns (see `Table.columns`)."""
        self._rows.setdefault(part.name, {})[key] = values

    def next_pos(self) -> Pos:
        self.head = Pos(self.head + 1)
        return self.head

    # What operations say; each method knows the order of its table's columns.

    def event(self, event: Event, words: Words | None) -> None:
        env = event.env
        self.put(EVENTS, (env.room, env.seq), *_event_row(event))
        self.records.append(Record(pos=event.pos, kind=LogKind.EVENT, room=env.room, event=event, words=words))

    def snapshot_event(self, env: Envelope) -> None:
        """A state event from before the copy of its room begins: no news to anybody, so it has no position.

        One that is in this very batch keeps the position that it has there: two parts may not write one row.
        """
        if (env.room, env.seq) not in self._rows.get(EVENTS.name, _EMPTY):
            self.put(SNAPSHOT, (env.room, env.seq), *_event_row(Event(pos=Pos(0), env=env)))
        elif env.redacted_by is not None:
            self._mark(EVENTS, env.room, env.seq, env.redacted_by)

    def log(self, record: Record) -> None:
        """A record that is no event, with a row of its own."""
        values = {"pos": record.pos, "kind": record.kind, "room": record.room, "a": record.account, "b": 0}
        self.put(LOG, record.pos, *_in_order(tables.LOG, values))
        self.records.append(record)

    def content(
        self, id: bytes, account: int, state: ContentState, room: RoomNo, room_home: HomeNo, body: bytes
    ) -> None:
        values = {
            "id": _uuid(id), "account": account, "state": state, "room": room, "room_home": room_home, "body": body
        }  # fmt: skip
        self.put(CONTENT, id, *_in_order(tables.CONTENT, values))

    def content_gone(self, id: bytes) -> None:
        """Delete a content row, or do not write it when it is in this very batch."""
        self.gone.append(id)
        self._rows.get(CONTENT_LIVE.name, _EMPTY).pop(id, None)
        if self._rows.get(CONTENT.name, _EMPTY).pop(id, None) is None:
            self.put(CONTENT_GONE, id, _uuid(id))

    def content_live(self, id: bytes) -> None:
        if id not in self._rows.get(CONTENT_GONE.name, _EMPTY):
            self.put(CONTENT_LIVE, id, _uuid(id))

    def txn(self, account: int, device: int, txn: bytes, event_id: bytes, minute: Minute) -> None:
        values = {"account": account, "device": device, "txn": txn, "event_id": _uuid(event_id), "minute": minute}
        self.put(TXNS, (account, device, txn), *_in_order(tables.TXNS, values))

    def redacted(self, room: RoomNo, seq: Seq, by: Seq, event_id: bytes) -> None:
        """Mark an event as redacted, also when it is in this very batch: an UPDATE would not see it there."""
        self.redactions.append((room, seq, by))
        self.gone.append(event_id)
        part = next((part for part in (EVENTS, SNAPSHOT) if (room, seq) in self._rows.get(part.name, _EMPTY)), None)
        if part is None:
            self.put(REDACTED, (room, seq), room, seq, by)
        else:
            self._mark(part, room, seq, by)

    def _mark(self, part: Part, room: RoomNo, seq: Seq, by: Seq) -> None:
        """Write into a row of this batch, and its record, which no reader has seen yet, that it is redacted."""
        rows, names = self._rows[part.name], [column.name for column in tables.EVENTS.columns]
        rows[room, seq] = tuple(
            by if name == "redacted_by" else value for name, value in zip(names, rows[room, seq], strict=True)
        )
        for record in self.records:
            if record.event is not None and record.room == room and record.event.env.seq == seq:
                env = structs.replace(record.event.env, redacted_by=by)
                record.event, record.words = Event(pos=record.event.pos, env=env), None

    def room(self, room: RoomNo, room_id: bytes, home: HomeNo, version: int, from_seq: Seq, proj: bytes) -> None:
        values = {
            "room": room, "room_id": _uuid(room_id), "home": home, "version": version, "from_seq": from_seq,
            "proj": proj,
        }  # fmt: skip
        self.put(ROOMS, room, *_in_order(tables.ROOMS, values))

    def state(self, room: RoomNo, type: TypeCode, skey: StateKeyCode, seq: Seq) -> None:
        values = {"room": room, "type": type, "skey": skey, "seq": seq}
        self.put(STATE, (room, type, skey), *_in_order(tables.STATE, values))

    def member(self, member: Member) -> None:
        values = {
            "room": member.room, "ref": member.ref, "account": member.account, "home": member.home,
            "membership": member.membership, "seq": member.seq, "forgotten": member.forgotten,
        }  # fmt: skip
        self.put(MEMBERS, (member.room, member.ref), *_in_order(tables.MEMBERS, values))

    def membership(self, room: RoomNo, ref: MemberRef, account: AccountNo | None) -> None:
        """The record that tells one account of this cell that its own membership moved."""
        if account is not None:
            self.log(Record(pos=self.next_pos(), kind=LogKind.MEMBERSHIP, room=room, account=account))

    def highlight(self, account: AccountNo, room: RoomNo, seq: Seq) -> None:
        self.put(
            HIGHLIGHTS,
            (account, room, seq),
            *_in_order(tables.HIGHLIGHTS, {"account": account, "room": room, "seq": seq}),
        )

    def room_cell(self, room: RoomNo, cell: CellNo, role: CellRole, from_seq: Seq) -> None:
        values = {"room": room, "cell": cell, "role": role, "from_seq": from_seq}
        self.put(ROOM_CELLS, (room, cell), *_in_order(tables.ROOM_CELLS, values))

    def cursor(self, src: CellNo, n: int) -> None:
        self.put(IN_CURSOR, src, *_in_order(tables.IN_CURSOR, {"src": src, "n": n}))

    def leaving(self, leaving: Leaving) -> None:
        """Somebody has left for themselves; the room's home has not heard of it."""
        values = {**structs.asdict(leaving), "event_id": _uuid(leaving.event_id)}
        self._rows.get(LEFT.name, _EMPTY).pop((leaving.room, leaving.ref), None)
        self.put(LEAVING, (leaving.room, leaving.ref), *_in_order(tables.LEAVING, values))

    def left(self, room: RoomNo, ref: MemberRef) -> None:
        """What the room's home says of somebody's membership counts again."""
        self._rows.get(LEAVING.name, _EMPTY).pop((room, ref), None)
        self.put(LEFT, (room, ref), room, ref)

    def cut(self, cell: CellNo, minute: Minute) -> None:
        self._rows.get(CUT_OVER.name, _EMPTY).pop(cell, None)
        self.put(CUTS, cell, *_in_order(tables.CUTS, {"cell": cell, "minute": minute}))

    def cut_over(self, cell: CellNo) -> None:
        self._rows.get(CUTS.name, _EMPTY).pop(cell, None)
        self.put(CUT_OVER, cell, cell)

    def heal(self, room: RoomNo) -> None:
        """A record that lets `room` be told anew."""
        pos = self.next_pos()
        self.put(HEALS, room, *_in_order(tables.HEALS, {"room": room, "pos": pos}))
        self.log(Record(pos=pos, kind=LogKind.HEAL, room=room))

    def voided(self, event_id: bytes, minute: Minute) -> None:
        self.put(VOIDED, event_id, *_in_order(tables.VOIDED, {"event_id": _uuid(event_id), "minute": minute}))

    def txn_gone(self, account: int, device: int, txn: bytes) -> None:
        self.put(TXNS_GONE, (account, device, txn), account, device, txn)

    def account_data(self, account: AccountNo, room: RoomNo, type_key: bytes, id: bytes, body: bytes) -> None:
        pos = self.next_pos()
        values = {"account": account, "room": room, "type_key": type_key, "pos": pos, "id": _uuid(id), "body": body}
        self.put(ACCOUNT_DATA, (account, room, type_key), *_in_order(tables.ACCOUNT_DATA, values))
        self.log(Record(pos=pos, kind=LogKind.ACCOUNT_DATA, room=room, account=account))

    def out(self, row: "Bell") -> None:
        values = {
            "dest": row.dest, "minute": row.minute, "n": row.n, "room": row.room, "seq": row.seq, "kind": row.kind,
            "a": row.a, "b": row.b, "thread": row.thread,
        }  # fmt: skip
        self.put(OUT, (row.dest, row.n), *_in_order(tables.OUT, values))
        self.bells.setdefault(row.dest, []).append(row)

    def receipt(self, row: ReceiptRow) -> None:
        """A marker that moved; the record for its room comes once per batch, see `finish`."""
        values = {
            "room": row.room, "ref": row.ref, "rtype": row.rtype, "thread": row.thread, "seq": row.seq,
            "minute": row.minute, "pos": row.pos,
        }  # fmt: skip
        self.put(RECEIPTS, (row.room, row.ref, row.rtype, row.thread), *_in_order(tables.RECEIPTS, values))
        self._receipts.setdefault(row.room, []).append(row)

    def receipt_pos(self, room: RoomNo) -> Pos:
        """The position of this batch's one record about the receipts of `room`."""
        earlier = self._receipts.get(room)
        return earlier[0].pos if earlier else self.next_pos()

    def finish(self) -> None:
        """Add what stands once per batch: a record per room with receipts, and the mark of the head."""
        for room, rows in self._receipts.items():
            self.log(Record(pos=rows[0].pos, kind=LogKind.RECEIPTS, room=room, receipts=tuple(rows)))
        self._receipts = {}
        self.records.sort(key=lambda record: record.pos)
        if self.records and self.records[-1].kind is LogKind.EVENT:
            last = self.records[-1]
            assert last.event is not None
            values = {"pos": last.pos, "kind": last.kind, "room": last.room, "a": last.event.env.seq, "b": 0}
            self.put(LOG, last.pos, *_in_order(tables.LOG, values))
        assert [record.pos for record in self.records] == list(range(self.first + 1, self.head + 1)), "dense"

    async def landed(self, connection: "Connection[Any]") -> bool:
        """Whether this batch is in the tables, asked after a connection was lost: all of it is there, or nothing.

        The lock is held again, so nobody else has given out the same position since. A batch without a position is
        known by its rows for other cells, or by a content it stages; without either, its rows may be written twice.
        """
        if self.records:
            return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM log WHERE pos = $1)", self.head))
        for dest, n in self._rows.get(OUT.name, _EMPTY):
            query = "SELECT EXISTS (SELECT FROM out WHERE dest = $1 AND n = $2)"
            return bool(await connection.fetchval(query, dest, n))
        for id in self._rows.get(CONTENT.name, _EMPTY):
            return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM content WHERE id = $1)", _uuid(id)))
        return False

    async def execute(self, connection: "Connection[Any]", timeout_s: float) -> None:
        """Write everything in one statement, which is its own transaction."""
        parts = [part for part in ORDER if self._rows.get(part.name)]
        texts, arguments, first = [], [], 1
        for part in parts:
            texts.append(f"{part.name} AS ({part.numbered(first)})")
            arguments.extend(_columns(part, self._rows[part.name].values()))
            first += len(part.types)
        if texts:
            await connection.execute(f"WITH {', '.join(texts)} SELECT", *arguments, timeout=timeout_s)


@dataclass(kw_only=True)
class Bell:
    """One row of `out`, with what is pushed beside it in memory."""

    dest: CellNo
    room: RoomNo
    seq: Seq
    kind: int
    n: int = 0
    minute: Minute = Minute(0)
    before: int = 0
    """The number of the row before it for the same destination."""
    a: int = 0
    b: int = 0
    thread: int = 0
    event: Event | None = None
    words: Words | None = None
    redacts: Envelope | None = None


def _event_row(event: Event) -> Row:
    env = event.env
    values = {
        "room": env.room, "seq": env.seq, "pos": event.pos, "event_id": _uuid(env.event_id), "home": env.home,
        "sender": env.sender, "skey": env.skey, "value": env.value, "rel_seq": env.rel_seq, "rel_type": env.rel_type,
        "minute": env.minute, "notes": env.notes, "prev_seq": env.prev_seq, "redacted_by": env.redacted_by,
        "type": env.type, "thread": env.thread, "loud": env.loud, "shouts": env.shouts,
    }  # fmt: skip
    return _in_order(tables.EVENTS, values)


def _columns(part: Part, rows: Iterable[Row]) -> list[list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    assert len(columns) == len(part.types)
    return columns


def _in_order(table: Table, values: dict[str, Any]) -> Row:
    return tuple(values[column.name] for column in table.columns)


def _uuid(raw: bytes) -> Any:
    return UUID(raw)
