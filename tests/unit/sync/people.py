"""Events and rooms for the tests of pure rules."""

from hutong.cells.codes import LogKind
from hutong.cells.records import Envelope, Event, ReceiptRow, Record, Words
from hutong.cells.sync_reads import Moment
from hutong.ids import HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms.event_types import MEMBER, MESSAGE
from hutong.rooms.pieces import Piece
from hutong.rooms.render import fragment
from hutong.sync.model import News, Own, Section

ALICE, BOB = MemberRef(-11), MemberRef(12)
ROOM = RoomNo(4)
ROOM_ID = "!abc:cn.localhost"


def envelope(
    seq: int, type: TypeCode = MESSAGE, sender: MemberRef = BOB, *, skey: int | None = None, value: int | None = None,
    notes: int = 0, loud: int = 0, thread: int | None = None,
) -> Envelope:  # fmt: skip
    return Envelope(
        room=ROOM, seq=Seq(seq), event_id=seq.to_bytes(16, "big"), home=HomeNo(1), sender=sender, type=type,
        skey=None if skey is None else StateKeyCode(skey), value=value, rel_seq=None, rel_type=None, minute=Minute(1),
        notes=notes, prev_seq=None, redacted_by=None, loud=loud, thread=None if thread is None else Seq(thread),
    )  # fmt: skip


def event(seq: int, *args: TypeCode | MemberRef, **more: int | None) -> Event:
    """An event whose position is ten times its seq."""
    return Event(pos=Pos(seq * 10), env=envelope(seq, *args, **more))  # type: ignore[arg-type]


def record(seq: int, content: bytes = b"{}", **more: int) -> Record:
    found = event(seq, MESSAGE, MemberRef(more.pop("sender", BOB)), **more)
    return Record(
        pos=found.pos, kind=LogKind.EVENT, room=ROOM, event=found, words=Words(0, "m.room.message", None, content)
    )


def receipt(pos: int, ref: MemberRef, seq: int, rtype: int, thread: int = 0) -> Record:
    row = ReceiptRow(
        room=ROOM, ref=ref, rtype=rtype, thread=thread, seq=Seq(seq), minute=Minute(1), pos=Pos(pos)
    )  # fmt: skip
    return Record(pos=Pos(pos), kind=LogKind.RECEIPTS, room=ROOM, receipts=(row,))


def piece(
    shown: Event, type: str = "m.room.message", sender: str = "@bob:eu.localhost", content: bytes = b"{}"
) -> Piece:
    words = Words(0, type, None, content)
    return Piece(
        fragment(shown.env, words, sender, None), 0, type, sender, None, content, ROOM, (shown.env.sender, None)
    )


def own(*moves: tuple[int, int, int], from_seq: int = 0, forgotten: bool = False) -> Own:
    """Alice's place in the room; each move is (seq, pos, membership)."""
    return Own(
        room=ROOM, room_id=ROOM_ID, ref=ALICE, home=HomeNo(1), version=10, from_seq=Seq(from_seq), forgotten=forgotten,
        history=[Moment(Seq(seq), Pos(pos), membership) for seq, pos, membership in moves],
    )  # fmt: skip


def news(place: Own, scanned: list[Event], *, after: int = 0, upto: int = 10_000, own_only: bool = False) -> News:
    return News(
        own=place, section=Section.JOIN, moment=place.history[-1], after=Pos(after), upto=Pos(upto), scanned=scanned,
        own_only=own_only,
    )  # fmt: skip


def move(seq: int, ref: MemberRef, membership: int) -> Event:
    return event(seq, MEMBER, ref, skey=ref, value=membership)
