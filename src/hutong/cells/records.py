"""What moves through a cell: events as rows and as envelopes, content as bytes, members, log records.

An `Envelope` may be at rest anywhere: integers, random ids and declared keyed hashes only. `Words` are in memory only.
"""

import struct
from typing import Final

from msgspec import Struct

from hutong.cells.codes import LogKind
from hutong.ids import AccountNo, DeviceNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms.event_types import MEMBER


class Envelope(Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What is needed to order and route one event, as it travels between cells."""

    room: RoomNo
    seq: Seq
    event_id: bytes
    home: HomeNo
    sender: MemberRef
    type: TypeCode
    skey: StateKeyCode | None
    value: int | None
    rel_seq: Seq | None
    rel_type: int | None
    minute: Minute
    notes: int
    prev_seq: Seq | None
    redacted_by: Seq | None
    target_home: HomeNo | None = None
    """Of m.room.member: the home of the person that `skey` stands for."""
    proj: bytes | None = None
    """Of structural state: the room's projection after this event."""
    thread: Seq | None = None
    """The root of the thread that it is in; None in the main timeline."""
    loud: int = 0
    """See `Loud`."""
    shouts: int = 0
    """Like `notes`, of events that highlight for everybody."""

    @property
    def target(self) -> MemberRef | None:
        """Whom an m.room.member event is about; None for every other event."""
        return MemberRef(self.skey) if self.type == MEMBER and self.skey is not None else None

    @property
    def people(self) -> tuple[MemberRef, ...]:
        """Whose user ids are needed to show it."""
        target = self.target
        return (self.sender,) if target is None else (self.sender, target)

    @property
    def is_state(self) -> bool:
        return self.skey is not None


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """An event in this cell: an envelope's fields, and its place in this cell's log."""

    pos: Pos
    env: Envelope


class Words(Struct, frozen=True, array_like=True, gc=False):
    """An event's content in memory. `json` are the bytes that the client sent."""

    ts_ms: int
    type: str
    state_key: str | None
    json: bytes


_HEADER: Final = struct.Struct(">BQHI")
_NO_STATE_KEY: Final = 0xFFFFFFFF
_FORMAT: Final = 1


def pack(words: Words) -> bytes:
    """The plaintext that is sealed: format, ms, lengths, type, state key, then the JSON untouched."""
    type_ = words.type.encode()
    key = b"" if words.state_key is None else words.state_key.encode()
    length = _NO_STATE_KEY if words.state_key is None else len(key)
    return _HEADER.pack(_FORMAT, words.ts_ms, len(type_), length) + type_ + key + words.json


def unpack(plain: bytes) -> Words:
    """The inverse of `pack`. Raises ValueError on bytes that `pack` did not make."""
    form, ts_ms, type_length, key_length = _HEADER.unpack_from(plain)
    if form != _FORMAT:
        raise ValueError(f"content has format {form}; this version reads {_FORMAT}")
    at = _HEADER.size + type_length
    type_ = plain[_HEADER.size : at].decode()
    if key_length == _NO_STATE_KEY:
        return Words(ts_ms, type_, None, plain[at:])
    return Words(ts_ms, type_, plain[at : at + key_length].decode(), plain[at + key_length :])


class Member(Struct, frozen=True, kw_only=True, gc=False):
    """One person in one room. `membership` is a Membership code, 0 when the ref was never used."""

    room: RoomNo
    ref: MemberRef
    account: AccountNo | None
    home: HomeNo
    membership: int
    seq: Seq
    forgotten: bool = False


class Leaving(Struct, frozen=True, kw_only=True):
    """Somebody has left a room (or declined an invitation) for themselves, and its home has not heard of it."""

    room: RoomNo
    ref: MemberRef
    account: AccountNo
    event_id: bytes
    seq: Seq
    """The last event of the room that they may know of."""
    ends: Seq
    """That of their m.room.member until then."""
    pos: Pos
    minute: Minute


class Txn(Struct, frozen=True):
    """A client's transaction, so that a repetition finds its event. `key`: a keyed hash of path and id."""

    account: AccountNo
    device: DeviceNo
    key: bytes


class ReceiptRow(Struct, frozen=True, kw_only=True, gc=False):
    room: RoomNo
    ref: MemberRef
    rtype: int
    thread: int
    seq: Seq
    minute: Minute
    pos: Pos


class Record(Struct, kw_only=True, gc=False):
    """One record of the log as the tail holds it, published after its commit. Only the tail changes it: a redaction."""

    pos: Pos
    kind: LogKind
    room: RoomNo
    account: AccountNo = AccountNo(0)
    """MEMBERSHIP and ACCOUNT_DATA: whose."""
    event: Event | None = None
    words: Words | None = None
    """EVENT: its content when this cell had it in memory; None: read it through."""
    receipts: tuple[ReceiptRow, ...] = ()
