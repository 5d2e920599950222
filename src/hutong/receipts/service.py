"""What a receipt may point at, and who hears of it. Client-Server API v1.19, "Receipts" and "Fully read markers"."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from hutong.cells.codes import MAIN_THREAD, ReceiptType
from hutong.cells.drafts import Home
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import EventById, ReceiptMoved
from hutong.cells.ops import MarkRead
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Member
from hutong.cells.view import RoomInfo, View
from hutong.cells.writer import Writer
from hutong.errors import BadParam, Forbidden, RegionAway
from hutong.ids import AccountNo, MemberRef, Minute, RoomNo, Seq, event_id_bytes, event_id_text
from hutong.rooms.event_types import Membership, Relation

TYPES: Final = {
    "m.read": ReceiptType.READ,
    "m.read.private": ReceiptType.PRIVATE,
    "m.fully_read": ReceiptType.FULLY_READ,
}
UNTHREADED: Final = 0
HOPS_MAX: Final = 3
_NO_EVENT: Final = "no such event in this room"


@dataclass(frozen=True, kw_only=True)
class Receipts:
    writer: Writer
    view: View
    reads: Reads
    link: Link
    home: Home
    markers: Callable[[RoomNo, MemberRef, ReceiptType], Awaitable[bytes | None]]
    """The id of the event at which somebody's marker stands."""
    now: Callable[[], Minute]

    async def mark(
        self, account: AccountNo, room_id: str, type: str, event_id: str, thread_id: str | None = None
    ) -> None:
        """`account` has read the room, or one thread of it, up to an event. A marker never moves back.

        Raises: Forbidden (403) for who is not in the room; BadParam (400) naming the type, event or thread; RegionAway.
        Cost: a share of a group commit; for a room of another cell, one message to its home.
        """
        if type not in TYPES:
            raise BadParam("receiptType", f"is none of {', '.join(TYPES)}")
        rtype = TYPES[type]
        if thread_id is not None and (not thread_id or rtype == ReceiptType.FULLY_READ):
            raise BadParam("thread_id", "cannot be empty" if not thread_id else "m.fully_read has no threads")
        room, member = await self._joined(account, room_id)
        event = await self._event(room, event_id)
        thread = UNTHREADED if thread_id is None else await self._thread(room, event, thread_id)
        moved = MarkRead(
            room=room.room, ref=member.ref, rtype=rtype, thread=thread, seq=event.seq, minute=self.now(), home=self.home
        )
        if await self.writer.submit(moved) and rtype == ReceiptType.READ:
            self._tell_home(room, moved)

    async def fully_read(self, account: AccountNo, room: RoomNo) -> bytes | None:
        """The content of `m.fully_read` in the account data of `room`; None while there is no marker."""
        member = await self.view.member(account, room)
        marked = None if member is None else await self.markers(room, member.ref, ReceiptType.FULLY_READ)
        return None if marked is None else b'{"event_id":"' + event_id_text(marked).encode() + b'"}'

    async def heard(self, _: Any, moved: ReceiptMoved) -> None:
        """A member of another cell has read a room that is at home here. Public receipts only."""
        if moved.rtype == ReceiptType.READ:
            await self.writer.submit(
                MarkRead(
                    room=moved.room, ref=moved.ref, rtype=moved.rtype, thread=moved.thread, seq=moved.seq,
                    minute=moved.minute, home=self.home,
                )
            )  # fmt: skip

    async def _joined(self, account: AccountNo, room_id: str) -> tuple[RoomInfo, Member]:
        room = self.view.room_no(room_id)
        member = None if room is None else await self.view.member(account, room)
        info = None if room is None else await self.view.room(room)
        if info is None or member is None or member.membership != Membership.JOIN:
            raise Forbidden("roomId: you are not in this room")
        return info, member

    async def _event(self, room: RoomInfo, event_id: str, field: str = "eventId") -> Envelope:
        raw = event_id_bytes(event_id)
        if raw is None:
            raise BadParam(field, _NO_EVENT)
        event = await self.reads.event_by_id(raw)
        if event is not None:
            envelope: Envelope | None = event.env
        else:
            envelope = await self._event_at_home(room, raw)
        if envelope is None or envelope.room != room.room:
            raise BadParam(field, _NO_EVENT)
        return envelope

    async def _event_at_home(self, room: RoomInfo, event_id: bytes) -> Envelope | None:
        """An event from before this cell's copy of the room begins."""
        home = self.home.directory.cell_of(room.home)
        if home == self.home.cell:
            return None
        try:
            return await self.link.call(home, EventById(room=room.room, event_id=event_id))
        except LinkDown:
            raise RegionAway(self.home.directory.region_of_cell(home).name) from None

    async def _thread(self, room: RoomInfo, event: Envelope, thread_id: str) -> int:
        """The number of the thread, which the event must be in."""
        found = await self._thread_of(room.room, event)
        if thread_id == "main":
            if found != MAIN_THREAD:
                raise BadParam("thread_id", "the event is in a thread, not in main")
            return MAIN_THREAD
        root = await self._event(room, thread_id, "thread_id")
        if root.seq not in {found, event.seq}:
            raise BadParam("thread_id", "the event is not in this thread")
        return root.seq

    async def _thread_of(self, room: RoomNo, event: Envelope) -> int:
        for _ in range(HOPS_MAX):
            if event.rel_seq is None or event.rel_type == Relation.REDACTION:
                return MAIN_THREAD
            if event.rel_type == Relation.THREAD:
                return event.rel_seq
            related = (await self.reads.events(room, [Seq(event.rel_seq)])).get(event.rel_seq)
            if related is None:
                return MAIN_THREAD
            event = related.env
        return MAIN_THREAD

    def _tell_home(self, room: RoomInfo, moved: MarkRead) -> None:
        home = self.home.directory.cell_of(room.home)
        if home != self.home.cell:
            self.link.send(
                home,
                ReceiptMoved(
                    room=moved.room, ref=moved.ref, rtype=moved.rtype, thread=moved.thread, seq=moved.seq,
                    minute=moved.minute,
                ),
            )  # fmt: skip
