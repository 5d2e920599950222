"""Answers `/sync`: looks for news, waits for some, and never tells what it could not read.

Client-Server API v1.19, "Syncing". An answer ends at a position of the log: everything before it that concerns the
reader was told, nothing after it. If an event cannot be read now, because its author's home is slow, the answer ends
just before it. What is cut off is left out, and told when it answers again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hutong.accounts.account_data import unpack
from hutong.cells.names import Names
from hutong.cells.sync_reads import SyncReads
from hutong.cells.tail import Tail
from hutong.cells.tokens import SyncToken, Tokens
from hutong.cells.view import RoomInfo, View
from hutong.errors import RegionAway
from hutong.http.call import settle
from hutong.ids import AccountNo, CellNo, DeviceNo, MemberRef, Pos, RoomNo
from hutong.rooms.event_types import MEMBER
from hutong.rooms.unsigned import TxnText
from hutong.sync.build import Builder
from hutong.sync.look import Look, Stuck
from hutong.sync.model import Ask, News, Section
from hutong.sync.poll import Poll
from hutong.sync.response import Assembler
from hutong.sync.session import Session, Sessions
from hutong.sync.wheel import Wheel
from hutong.typing_notices.board import TypingBoard
from hutong.vault.vault import Gone, Vault

Stripped = Callable[[RoomInfo, MemberRef], Awaitable[Sequence[bytes] | None]]
"""The stripped state of a room for somebody who is invited, wherever its home is; None when that is away now."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    body: bytes
    telling: bool
    upto: Pos
    eph: int
    stuck: bool


@dataclass(frozen=True, kw_only=True)
class Sync:
    """The syncs of one cell."""

    tail: Tail
    reads: SyncReads
    sessions: Sessions
    builder: Builder
    typing: TypingBoard
    tokens: Tokens
    names: Names
    view: View
    vault: Vault
    stripped: Stripped
    push_rules: Callable[[AccountNo], Awaitable[bytes]]
    """The content of `m.push_rules`."""
    user_id: Callable[[AccountNo], Awaitable[str]]
    ignored: Callable[[AccountNo], Awaitable[frozenset[str]]]
    """Whom somebody ignores, by user id."""
    transaction: TxnText
    keys: Callable[[AccountNo, DeviceNo], Awaitable[bytes]]
    """What an answer says of the keys that a device has left here: members of a JSON object."""
    away: Callable[[CellNo], RegionAway]
    """The error for a client when a cell cannot be asked."""
    now: Callable[[], float]
    wheel: Wheel

    def poll(self, account: AccountNo, device: DeviceNo, ask: Ask) -> Poll:
        """The answer to `ask`, as soon as there is news, or when the client's time-out is over.

        Raises: BadParam naming `since`; the poll RegionAway, when a first answer needs the words of a region that is
            too slow.
        Cost: waiting costs a record. By the tail: no statement while words and names are cached, one more each for
            members of lazy loading, account data, summaries and replaced state. By the tables: a fixed number.
        """
        token = None if ask.since is None else self.tokens.parse_sync(ask.since, self.tail.head)
        return Poll(self, self.sessions.open(account, device), ask, token, asyncio.get_running_loop().time())

    async def answer(self, account: AccountNo, device: DeviceNo, ask: Ask) -> bytes:
        """The body of the answer of a `poll`. Raises as that."""
        return await settle(self.poll(account, device, ask))

    def quiet(self, session: Session, token: SyncToken) -> bool:
        """Whether it is certain that nothing happened since `token`: the usual case of a client that polls on."""
        if session.resets != self.tail.resets or session.moved or token.pos < max(session.loaded, session.last_pos):
            return False
        if token.boot != self.tokens.boot:
            return False
        if token.eph == self.typing.eph:
            return True
        return not self.typing.changed_among(session.watched, token.eph)

    async def look(self, session: Session, ask: Ask, token: SyncToken | None) -> Answer:
        """What is new since `token`. Raises: Stuck, when nothing could be told before what is slow."""
        since = None if token is None else token.pos
        upto = max(await self.sessions.refresh(session), Pos(-1) if since is None else since)
        eph, stuck = self.typing.eph, False
        told_eph = -1 if token is None else token.eph if token.boot == self.tokens.boot else 0
        session.ignore(await self.ignored(session.account))
        while True:
            look = Look(ask=ask, session=session, since=since, upto=upto, eph=told_eph)
            try:
                await self.builder.timelines(look)
                await self._account_data(look)
                await self.builder.extras(look)
                await self._names(look)
                await self._invitations(look)
            except Stuck as error:
                if token is None or ask.full_state:
                    raise
                stuck = True
                upto = Pos(max(error.pos - 1, look.told))
                if upto == look.told:
                    return self._nothing(look, told_eph, await self.keys(session.account, session.device))
                continue
            break
        assembler = Assembler(look, int(self.now() * 1_000), self.transaction, self.tokens.room)
        body = assembler.answer(self.tokens.sync(upto, eph), await self.keys(session.account, session.device))
        if ask.filter.lazy:
            _remember(look)
        return Answer(body=body, telling=assembler.telling, upto=upto, eph=eph, stuck=stuck)

    def _nothing(self, look: Look, eph: int, keys: bytes) -> Answer:
        """The very next thing to tell cannot be read: the client stays where it is."""
        body = Assembler(
            Look(ask=look.ask, session=look.session, since=look.since, upto=look.told, eph=eph),
            int(self.now() * 1_000), self.transaction, self.tokens.room,
        ).answer(self.tokens.sync(look.told, eph), keys)  # fmt: skip
        return Answer(body=body, telling=False, upto=look.told, eph=eph, stuck=True)

    async def _account_data(self, look: Look) -> None:
        account = look.session.account
        if look.ask.filter.account_data.by_sender or look.ask.filter.room_account_data.by_sender:
            look.me = await self.user_id(account)
        if not self.builder.account_data_moved(look):
            return
        anew = [news.own.room for news in look.news if news.fresh]
        for row in await self.reads.account_data(account, Pos(max(look.told, 0)), look.upto, anew):
            try:
                look.account_data.append((row.room, *unpack(self.vault.open(account, row.id, row.body))))
            except Gone:
                continue
        if look.since is None:
            look.account_data.append((RoomNo(0), "m.push_rules", await self.push_rules(account)))

    async def _names(self, look: Look) -> None:
        """The user ids in receipts, typing notices and summaries. Raises: Stuck for a receipt.

        Who types is told of again and again; a receipt is told once.
        """
        wanted: dict[tuple[RoomNo, MemberRef], None] = {}
        for news in look.news:
            room = news.own.room
            wanted.update(((room, row.ref), None) for row in news.receipts)
            wanted.update(((room, ref), None) for ref in news.typists or ())
            if news.summary is not None:
                wanted.update(((room, ref), None) for ref in news.summary.heroes)
        if wanted:
            look.names, away = await self.names.look_up(wanted)
            self.builder.hold_receipts(look, lambda row: away.get((row.room, row.ref)))

    async def _invitations(self, look: Look) -> None:
        waiting = [news for news in look.news if news.section in {Section.INVITE, Section.KNOCK}]
        await asyncio.gather(*(self._invitation(news) for news in waiting))

    async def _invitation(self, news: News) -> None:
        room = await self.view.room(news.own.room)
        if room is not None:
            news.stripped = await self.stripped(room, news.own.ref) or ()


def _remember(look: Look) -> None:
    """Which members this answer told of, for a client that comes back with its token."""
    for news in look.news:
        for event in (*news.state, *news.events):
            if event.env.type == MEMBER and event.env.skey is not None:
                look.session.tell(news.own.room, MemberRef(event.env.skey), look.upto, look.ask.filter)
