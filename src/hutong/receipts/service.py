"""What a receipt may point at, and who hears of it. Client-Server API v1.19, "Receipts" and "Fully read markers"."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hutong.cells.codes import MAIN_THREAD, ReceiptType
from hutong.cells.drafts import Home
from hutong.cells.link import Link, LinkDown
from hutong.cells.markers import MarkRead
from hutong.cells.messages import EventById
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope
from hutong.cells.tail import Tail
from hutong.cells.view import RoomInfo, View
from hutong.cells.writer import Writer
from hutong.errors import BadParam, RegionAway
from hutong.ids import AccountNo, MemberRef, Minute, RoomNo, event_id_bytes, event_id_text
from hutong.rooms.access import Access, Seat

TYPES: Final = {
    "m.read": ReceiptType.READ,
    "m.read.private": ReceiptType.PRIVATE,
    "m.fully_read": ReceiptType.FULLY_READ,
}
UNTHREADED: Final = 0
MAIN: Final = "main"
_NO_EVENT: Final = "no such event in this room"


@dataclass(frozen=True, kw_only=True)
class Receipts:
    access: Access
    writer: Writer
    view: View
    reads: Reads
    tail: Tail
    link: Link
    home: Home
    markers: Callable[[RoomNo, MemberRef, ReceiptType], Awaitable[bytes | None]]
    """The id of the event at which somebody's marker stands."""
    now: Callable[[], Minute]

    async def mark(
        self, account: AccountNo, room_id: str, type: str, event_id: str, thread_id: str | None = None
    ) -> None:
        """`account` has read the room, or one thread of it, up to an event. A marker never moves back.

        Durable when this returns, and heard of in the whole room as soon as its home can be reached.
        Raises: Forbidden (403) for who is not in the room; BadParam (400) naming the type, event or thread; RegionAway
            when only the room's home, which is away, knows the event.
        Cost: a share of a group commit, LINGER_S later; a statement when the event is none of the latest.
        """
        if type not in TYPES:
            raise BadParam("receiptType", f"is none of {', '.join(TYPES)}")
        rtype = TYPES[type]
        if thread_id is not None and (not thread_id or rtype == ReceiptType.FULLY_READ):
            raise BadParam("thread_id", "cannot be empty" if not thread_id else "m.fully_read has no threads")
        seat = await self.access.joined(account, room_id)
        event = await self._event(seat.room, event_id, "eventId")
        thread = UNTHREADED if thread_id is None else await self._thread(seat.room, event, thread_id)
        await self.writer.submit_soon(self._moved(seat, rtype, event, thread))

    async def mark_all(self, account: AccountNo, room_id: str, markers: Mapping[str, str]) -> None:
        """Move several markers, by type, at once: all of them, or none when one of the events is wrong.

        Raises and costs as `mark`.
        """
        seat = await self.access.joined(account, room_id)
        moved = [
            self._moved(seat, TYPES[type], await self._event(seat.room, event_id, type), UNTHREADED)
            for type, event_id in markers.items()
        ]
        await asyncio.gather(*(self.writer.submit_soon(move) for move in moved))

    async def fully_read(self, account: AccountNo, room: RoomNo) -> bytes | None:
        """The content of `m.fully_read` in the account data of `room`; None while there is no marker."""
        member = await self.view.member(account, room)
        marked = None if member is None else await self.markers(room, member.ref, ReceiptType.FULLY_READ)
        return None if marked is None else b'{"event_id":"' + event_id_text(marked).encode() + b'"}'

    def _moved(self, seat: Seat, rtype: ReceiptType, event: Envelope, thread: int) -> MarkRead:
        return MarkRead(
            room=seat.room.room, ref=seat.member.ref, rtype=rtype, thread=thread, seq=event.seq, minute=self.now(),
            home=self.home,
        )  # fmt: skip

    async def _event(self, room: RoomInfo, event_id: str, field: str) -> Envelope:
        raw = event_id_bytes(event_id)
        if raw is None:
            raise BadParam(field, _NO_EVENT)
        envelope = self.tail.find(room.room, raw)
        if envelope is None:
            event = await self.reads.event_by_id(raw)
            envelope = event.env if event is not None else await self._event_at_home(room, raw)
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
        """The number of the thread, which the event must be in. The root itself counts as read with its thread."""
        if thread_id == MAIN:
            if event.thread is not None:
                raise BadParam("thread_id", "the event is in a thread, not in main")
            return MAIN_THREAD
        root = await self._event(room, thread_id, "thread_id")
        if root.seq not in {event.thread, event.seq}:
            raise BadParam("thread_id", "the event is not in this thread")
        return root.seq
