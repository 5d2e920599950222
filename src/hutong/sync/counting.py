"""Finds what is unread in the rooms of a look: by the last look and what the tail has since, else by the tables."""

from dataclasses import dataclass

from hutong.cells.sync_reads import SyncReads
from hutong.cells.tail import Tail
from hutong.cells.unread_reads import LoudEvent, UnreadRow
from hutong.ids import MemberRef, RoomNo
from hutong.rooms.pieces import Pieces
from hutong.sync import unread
from hutong.sync.latest import Latest
from hutong.sync.look import Look
from hutong.sync.model import News, Own


@dataclass(frozen=True)
class Counting:
    tail: Tail
    reads: SyncReads
    pieces: Pieces
    latest: Latest

    async def read(self, look: Look, joined: list[News]) -> None:
        """Set `unread` of the news of rooms that the reader is in.

        Cost: no statement for a session that polls on, nor where the last events that are kept of a room go back to
        what is read, unless one may name its reader; else one, and one more for a reader who ignores somebody.
        """
        asked = []
        for news in joined:
            own = news.own
            row = self._rolled(look, own) or self._of_window(look, news)
            if row is None:
                asked.append((own.room, own.ref, news.moment.seq))
            else:
                own.unread, own.unread_at = row, look.upto
                news.unread = row
        if not asked:
            return
        found = await self.reads.unread(look.session.account, asked, look.upto)
        if look.session.ignored:
            found |= await self._heeded(look, found)
        for news in joined:
            if news.unread is None and news.own.room in found:
                news.unread = news.own.unread = found[news.own.room]
                news.own.unread_at = look.upto

    def _rolled(self, look: Look, own: Own) -> UnreadRow | None:
        if own.unread is None or own.unread_at > look.upto or not self.tail.reaches(own.unread_at):
            return None
        records = (record for record in self.tail.of_room(own.room, own.unread_at) if record.pos <= look.upto)
        name = self.pieces.name(own.room, own.ref)
        return unread.rolled(own.unread, records, own.ref, name, self._ignores(look, own))

    def _of_window(self, look: Look, news: News) -> UnreadRow | None:
        """What the last events of a room tell to somebody who is told of all of its receipts."""
        if look.session.ignored or not news.fresh:
            return None
        own = news.own
        base, main_base = unread.bases(news.receipts, own.ref, news.moment.seq)
        events = self.latest.since(own.room, base, look.upto)
        return None if events is None else unread.of_window(events, own.ref, base, main_base)

    def _ignores(self, look: Look, own: Own) -> unread.Ignores | None:
        ignored = look.session.ignored
        if not ignored:
            return None

        def ignores(ref: MemberRef) -> bool | None:
            name = self.pieces.name(own.room, ref)
            return None if name is None else name in ignored

        return ignores

    async def _heeded(self, look: Look, found: dict[RoomNo, UnreadRow]) -> dict[RoomNo, UnreadRow]:
        """`found` without what the reader ignores."""
        rows = {room: row for room, row in found.items() if unread.counts(row).notifications}
        loud = await self.reads.loud([(room, row.base) for room, row in rows.items()], look.upto)
        names = await self.pieces.names({(event.room, event.sender) for event in loud})
        ignored: dict[RoomNo, list[LoudEvent]] = {}
        for event in loud:
            if names.get((event.room, event.sender)) in look.session.ignored:
                ignored.setdefault(event.room, []).append(event)
        return {room: unread.without(row, ignored.get(room, ())) for room, row in rows.items()}
