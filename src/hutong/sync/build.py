"""One look at what is new for a session: which rooms, their events, and everything that goes with them.

Two sources tell the same: the tail, without a query, as long as the client's token is not older than it; the tables,
with a fixed number of statements, for first and late comers.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from hutong.cells.codes import LogKind
from hutong.cells.records import Event, ReceiptRow
from hutong.cells.roots import Roots
from hutong.cells.sync_reads import Moment, SyncReads
from hutong.cells.tail import Tail
from hutong.cells.unread_reads import MAIN
from hutong.cells.view import Lru
from hutong.ids import CellNo, MemberRef, Pos, RoomNo, Seq
from hutong.rooms.event_types import MEMBER, Membership
from hutong.rooms.pieces import Pieces
from hutong.sync import records, rooms, timeline, unread
from hutong.sync.counting import Counting
from hutong.sync.latest import Latest
from hutong.sync.look import Look, Stuck
from hutong.sync.model import END_OF_TIME, NOWHERE, Before, News, Own, Section, is_about
from hutong.sync.session import Session
from hutong.sync.surroundings import Surroundings
from hutong.typing_notices.board import TypingBoard

R = TypeVar("R")

LeaveOut = Callable[[CellNo, RoomNo], bool]
"""Whether words of a cell may be left out of a room, since it is cut off and not just slow; see `Cuts.leave_out`."""

SHARED_MAX: Final = 200
SCANNED_MIN: Final = 100
OVERSAMPLE: Final = 5
"""Where a filter asks for more than a type, so many events are read for each one that may be shown."""


class Builder:
    """Finds what a look is to hold. All sources of one cell."""

    def __init__(
        self,
        tail: Tail,
        reads: SyncReads,
        surroundings: Surroundings,
        pieces: Pieces,
        roots: Roots,
        typing: TypingBoard,
        leave_out: LeaveOut,
    ) -> None:
        self._tail = tail
        self._reads = reads
        self._surroundings = surroundings
        self._latest = Latest(tail, reads)
        self._counting = Counting(tail, reads, pieces, self._latest)
        self._pieces = pieces
        self._roots = roots
        self._typing = typing
        self._leave_out = leave_out
        self._shared: Lru[Hashable, asyncio.Task[Any]] = Lru(SHARED_MAX)

    async def _once(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What `read` finds, asked once for all who are woken by the same step of the log. `key` names the step."""
        task = self._shared.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(read())
            self._shared.put(key, task)
        try:
            found: R = await asyncio.shield(task)  # one client that hangs up must not end it for the others
        except BaseException:
            self._shared.drop(key)
            raise
        return found

    def by_tail(self, look: Look) -> bool:
        """Whether the tail and the session know everything that happened since the token."""
        return look.in_tail and look.told >= look.session.loaded and self._tail.reaches(look.told)

    async def timelines(self, look: Look) -> None:
        """Find the rooms with news, and the events that they show. Raises Stuck."""
        if self.by_tail(look):
            self._from_tail(look)
        else:
            await self._from_tables(look)
        await self._read_windows(look)
        await self._read_pieces(look, (event for news in look.news for event in self._wanted(look, news)))
        await self._read_histories(look)
        for news in look.news:
            timeline.choose(
                news, look.ask.filter, look.pieces, joined_since=look.since is not None, ignored=look.session.ignored
            )
        if look.session.ignored:
            look.news = [news for news in look.news if not self._from_ignored(look, news)]

    def _from_ignored(self, look: Look, news: News) -> bool:
        """Whether the news is an invitation by somebody whom the reader ignores."""
        if news.section is not Section.INVITE:
            return False
        senders = (self._pieces.name(news.own.room, event.env.sender) for event in news.scanned)
        return any(sender in look.session.ignored for sender in senders)

    # Which rooms.

    def _from_tail(self, look: Look) -> None:
        session, since = look.session, look.told
        touched = set(session.touched_after(since))
        touched.update(record.room for record in self._tail.of_account(session.account, since))
        if look.eph >= 0:
            touched.update(self._typing.changed_among(session.watched, look.eph))
        for own in rooms.admitted((session.rooms[room] for room in touched if room in session.rooms), look.ask):
            news = rooms.incremental(own, session.before(own, since, look.upto), look.ask, since, look.upto)
            if news is None:
                continue
            look.news.append(news)
            if not news.fresh and news.section in {Section.JOIN, Section.LEAVE}:
                window = [record for record in self._tail.of_room(own.room, since) if record.pos <= news.upto]
                look.windows[own.room] = window
                news.from_tail = True
                news.scanned = [record.event for record in window if record.event is not None]

    async def _from_tables(self, look: Look) -> None:
        session, since = look.session, look.since
        all_rooms = session.rooms.values() if look.upto >= session.loaded else await self._as_of(session, look.upto)
        known = list(rooms.admitted(all_rooms, look.ask))
        if since is None:
            look.news = [news for own in known if (news := rooms.initial(own, look.ask, look.upto)) is not None]
            return
        before = await self._before(session, known, since, look.upto)
        for own in known:
            news = rooms.incremental(own, before.get(own.room, NOWHERE), look.ask, since, look.upto)
            if news is not None:
                look.news.append(news)

    async def _as_of(self, session: Session, upto: Pos) -> list[Own]:
        """The account's rooms at an end that lies before everything that the session knows of its memberships."""
        rows = await self._reads.my_rooms(session.account, upto)
        return [
            replace(session.rooms[row.room], history=[Moment(row.seq, row.pos, row.membership)])
            for row in rows
            if row.room in session.rooms
        ]

    async def _before(self, session: Session, known: Iterable[Own], since: Pos, upto: Pos) -> dict[RoomNo, Before]:
        found: dict[RoomNo, Before] = {}
        asked: list[tuple[RoomNo, MemberRef, Pos]] = []
        for own in known:
            moment = own.at(upto)
            if moment is None or moment.pos <= since or since >= session.loaded:
                found[own.room] = session.before(own, since, upto)
            else:
                asked.append((own.room, own.ref, moment.pos))
        if asked:
            for room, (membership, moved_out) in (await self._reads.memberships_before(asked, since)).items():
                found[room] = Before(membership, membership != Membership.JOIN or moved_out)
        return found

    # Which events.

    async def _read_windows(self, look: Look) -> None:
        """Read the timelines that the tail did not tell."""
        asked = [
            news
            for news in look.news
            if news.section in {Section.JOIN, Section.LEAVE} and not news.from_tail and not news.own_only
        ]
        budget = self._budget(look)
        if asked:
            windows = [(news.own.room, news.after, news.upto, news.own.from_seq) for news in asked]
            found = await self._latest.timelines(windows, look.ask.filter.timeline.types.codes, budget)
            for news in asked:
                news.scanned = found.get(news.own.room, [])
                news.more = len(news.scanned) >= budget
        own_only = [news for news in look.news if news.own_only or news.section in {Section.INVITE, Section.KNOCK}]
        if own_only:
            places = await self._reads.events_at((news.own.room, news.moment.seq) for news in own_only)
            for news in own_only:
                event = places.get((news.own.room, news.moment.seq))
                news.scanned = [] if event is None else [event]
                news.from_tail = False
        for news in look.news:
            left = news.own.leaving
            if left is not None and left.pos == news.moment.pos:
                news.scanned = [*news.scanned, left]

    def _budget(self, look: Look) -> int:
        """How many events are read of each room."""
        filter = look.ask.filter
        if filter.timeline.nothing:
            return 1
        if filter.timeline.all and not look.session.ignored:
            return filter.limit + 1
        return max(filter.limit * OVERSAMPLE, SCANNED_MIN)

    def _wanted(self, look: Look, news: News) -> list[Event]:
        """The events whose words are needed to choose what is shown; the others leave the window."""
        if news.section in {Section.INVITE, Section.KNOCK}:
            return news.scanned
        types = look.ask.filter.timeline.types
        passing = [event for event in news.scanned if types.admits_code(event.env.type) is not False]
        budget = self._budget(look)
        if not look.ask.filter.shows_timeline(news.own.room_id):
            passing = []
        news.more = news.more or len(passing) > budget
        news.scanned = passing[-budget:]
        return news.scanned

    async def _read_pieces(self, look: Look, events: Iterable[Event], *, must: bool = True) -> None:
        """Fetch the words of `events`. Those of a cell that is cut off are left out.

        Raises: Stuck for a slow cell, at the first of them that must be told now.
        """
        wanted = [event for event in events if event.env.event_id not in look.pieces]
        if not wanted:
            return
        pieces, away = await self._pieces.fetch(event.env for event in wanted)
        look.pieces |= pieces
        if not must:
            return
        slow = [
            (self._told_at(look, event), away[event.env.event_id])
            for event in wanted
            if event.env.event_id in away and not self._leave_out(away[event.env.event_id], event.env.room)
        ]
        if slow:
            raise Stuck(*min(slow))

    def _told_at(self, look: Look, event: Event) -> Pos:
        """For the sake of which position an event is told: its own, or that of what makes it necessary."""
        news = next((news for news in look.news if news.own.room == event.env.room), None)
        if event.pos > look.told and (news is None or not news.fresh):
            return event.pos
        if news is None:
            return look.upto
        return news.since if news.fresh else min((shown.pos for shown in news.events), default=look.upto)

    async def _read_histories(self, look: Look) -> None:
        """Read what decides about visibility, where events from before the own last move might be shown."""
        asked = [
            news
            for news in look.news
            if news.fresh
            and not news.own_only
            and (news.section is Section.LEAVE or (news.section is Section.JOIN and timeline.reaches_back(news)))
        ]
        if asked:
            found = await self._reads.histories((news.own.room, news.own.ref) for news in asked)
            for news in asked:
                news.histories = found.get(news.own.room)
                if news.section is Section.LEAVE:
                    timeline.end_at_leaving(news)

    # What goes with them.

    async def extras(self, look: Look) -> None:
        """State, receipts, typing, counts: for the rooms that are told. Raises Stuck."""
        told = [news for news in look.news if news.section in {Section.JOIN, Section.LEAVE}]
        await self._state(look, told)
        joined = [news for news in told if news.section is Section.JOIN]
        await self._receipts(look, joined)
        await self._counting.read(look, joined)
        await self._receipt_events(look, joined)
        self._typists(look, joined)
        await self._summaries(look, joined)
        await self._lazy_members(look, told)
        await self._read_pieces(look, (event for news in told for event in news.state))
        await self._surroundings.read(look, self._once)

    async def _state(self, look: Look, told: list[News]) -> None:
        filter = look.ask.filter
        whole, gaps, changed, moved = [], [], [], []
        shown_in = [news for news in told if not news.own_only and filter.shows_state(news.own.room_id)]
        for news in shown_in:
            at_end, start = self._state_at_end(look, news), self._state_end(look, news)
            if at_end and news.horizon <= news.moment.seq:
                moved.append((news.own.room, news.moment.seq))
            if news.fresh or news.full_state:
                whole.append((news.own.room, start, news.upto))
                if filter.lazy and news.was_in:
                    gaps.append((news.own.room, start, news.upto))
            elif news.from_tail:
                news.state = records.last_state(look.windows[news.own.room], start)
            elif news.limited or at_end:
                changed.append((news.own.room, start, news.upto))
        codes = filter.state.types.codes
        found: dict[RoomNo, list[Event]] = {}
        if whole:
            found |= await self._latest.state_at(whole, codes, members=not filter.lazy)
        if changed:
            found |= await self._reads.state_since(changed, codes, look.told)
        if gaps:  # no change of a membership is redundant, however little is told of the others
            for room, events in (await self._reads.state_since(gaps, [MEMBER], look.told)).items():
                members = (event for event in events if event.env.type == MEMBER)
                found[room] = [*found.get(room, ()), *members]
        moves = await self._reads.events_at(moved) if moved else {}
        for news in shown_in:
            state = news.state or found.get(news.own.room, [])
            move = moves.get((news.own.room, news.moment.seq))
            if move is not None:
                state = [*(event for event in state if not is_about(event.env, news.own.ref)), move]
            shown = set() if look.ask.state_after else {event.env.seq for event in news.events}
            news.state = [event for event in state if event.env.seq not in shown]

    def _state_at_end(self, look: Look, news: News) -> bool:
        """Where the timeline leaves events out, the state tells how things stand at its end, also when not asked to."""
        timeline = look.ask.filter.timeline
        return look.ask.state_after or not timeline.all or not timeline.admits_room(news.own.room_id)

    def _state_end(self, look: Look, news: News) -> Seq:
        """The seq before which the state is told."""
        return min(END_OF_TIME if self._state_at_end(look, news) else news.start, news.horizon)

    async def _lazy_members(self, look: Look, told: list[News]) -> None:
        """With lazy loading, the members who speak in the timeline, unless the client has them."""
        filter = look.ask.filter
        if not filter.lazy or filter.state.types.admits_code(MEMBER) is False:
            return
        asked: list[tuple[RoomNo, MemberRef, Seq, Pos]] = []
        for news in told:
            if news.own_only or not filter.shows_state(news.own.room_id):
                continue
            refs = {event.env.sender for event in news.events}
            if news.fresh or news.full_state:
                refs.add(news.own.ref)
            refs.update(news.heroes)
            there = {MemberRef(event.env.skey or 0) for event in news.state if event.env.type == MEMBER}
            start = self._state_end(look, news)
            for ref in refs:
                redundant = not filter.redundant and not news.fresh and not news.full_state
                if ref not in there and not (
                    redundant and look.session.was_told(news.own.room, ref, look.told, filter)
                ):
                    asked.append((news.own.room, ref, start, news.upto))
        found = await self._latest.members_at(asked) if asked else {}
        for news in told:
            shown = set() if look.ask.state_after else {event.env.seq for event in news.events}
            members = found.get(news.own.room, ())
            news.state = [*news.state, *(event for event in members if event.env.seq not in shown)]

    async def _receipts(self, look: Look, joined: list[News]) -> None:
        asked = []
        for news in joined:
            if news.from_tail:
                news.receipts = records.last_markers(look.windows[news.own.room], news.own.ref)
            else:
                asked.append((news.own.room, news.own.ref, news.after))
        if asked:
            found = await self._reads.receipts(asked, look.upto)
            for news in joined:
                if not news.from_tail:
                    news.receipts = found.get(news.own.room, ())

    async def _receipt_events(self, look: Look, joined: list[News]) -> None:
        """Find the ids of the events at which receipts stand, and of the roots of threads. Raises: Stuck."""
        missing: dict[tuple[RoomNo, Seq], None] = {}
        roots: set[tuple[RoomNo, Seq]] = set()
        for news in joined:
            room = news.own.room
            threads = {Seq(row.thread) for row in news.receipts if row.thread > 0}
            if look.ask.filter.timeline.threads and news.unread is not None:
                threads.update(Seq(line) for line in unread.by_line(news.unread) if line != MAIN)
            roots.update((room, seq) for seq in threads)
            places = threads.union(row.seq for row in news.receipts)
            latest = self._tail.ids_at(room, places)
            look.receipt_events |= {(room, seq): event_id for seq, event_id in latest.items()}
            missing |= dict.fromkeys((room, seq) for seq in places - latest.keys())
        if missing:
            found = await self._reads.events_at(missing)
            look.receipt_events |= {place: event.env.event_id for place, event in found.items()}
            older = roots.intersection(missing) - found.keys()
            if older:
                needed = {(news.own.room, Seq(row.thread)) for news in joined for row in look.readable(news)}
                ids, away = await self._roots.ids(sorted(older, key=lambda place: (place not in needed, place)))
                look.receipt_events |= ids
                self.hold_receipts(look, lambda row: away.get((row.room, Seq(row.thread))))

    def hold_receipts(self, look: Look, away: Callable[[ReceiptRow], CellNo | None]) -> None:
        """Leave out the receipts for which `away` names a cell that is cut off: they are told when it answers again.

        Raises: Stuck for one that is slow, before the first of its receipts.
        """
        slow = [
            (news.since if news.fresh else row.pos, cell)
            for news in look.news
            for row in look.readable(news)
            if (cell := away(row)) is not None and not self._leave_out(cell, row.room)
        ]
        if slow:
            raise Stuck(*min(slow))

    def _typists(self, look: Look, joined: list[News]) -> None:
        for news in joined:
            typists = self._typing.typists(news.own.room)
            if typists if news.fresh else self._typing.changed(news.own.room, look.eph):
                news.typists = typists

    async def _summaries(self, look: Look, joined: list[News]) -> None:
        due = [news for news in joined if news.fresh or news.full_state or self._members_moved(look, news)]
        if due:
            rooms_due = tuple(news.own.room for news in due)
            found = await self._once(("summaries", look.upto, rooms_due), lambda: self._latest.summaries(rooms_due))
            for news in due:
                news.summary = found.get(news.own.room)

    def _members_moved(self, look: Look, news: News) -> bool:
        """Whether anybody's membership changed since the token; true where the filter hides it."""
        if news.from_tail:
            window: Iterable[Event] = (r.event for r in look.windows[news.own.room] if r.event is not None)
        else:
            window = [*news.scanned, *news.state]
            filter = look.ask.filter
            hidden = not filter.shows_state(news.own.room_id) or filter.state.types.admits_code(MEMBER) is False
            if hidden and (news.more or self._state_at_end(look, news)):
                return True
        return any(event.env.type == MEMBER for event in window)

    def account_data_moved(self, look: Look) -> bool:
        """Whether the account stored anything since the token, as far as can be told without a query."""
        if not self.by_tail(look) or any(news.fresh for news in look.news):
            return True
        records = self._tail.of_account(look.session.account, look.told)
        return any(record.kind is LogKind.ACCOUNT_DATA for record in records)
