"""What was sent to another cell and not answered: the room's home says what became of it. Leavings are sent again."""

import asyncio
import logging
from collections.abc import Callable

from hutong.cells.codes import ContentState
from hutong.cells.decisions import Decisions
from hutong.cells.leaving import LeaveSuperseded
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import Append, Draft, Settle
from hutong.cells.ops import ContentLive, ContentVoid
from hutong.cells.reads import Reads
from hutong.cells.records import Leaving, Words, unpack
from hutong.cells.transactions import Transactions
from hutong.cells.writer import Writer
from hutong.engines.databases import AWAY
from hutong.errors import MatrixError
from hutong.ids import AccountNo, CellNo, HomeNo, RoomNo, Seq
from hutong.vault.vault import Vault

log = logging.getLogger(__name__)

SETTLE_EVERY_S = 10.0
AWAY_RETRY_S = 1.0
_LATER: tuple[type[Exception], ...] = (LinkDown, MatrixError, *AWAY)


class Settling:
    def __init__(
        self,
        *,
        cell: CellNo,
        cell_of: Callable[[HomeNo], CellNo],
        link: Link,
        writer: Writer,
        reads: Reads,
        vault: Vault,
        transactions: Transactions,
    ) -> None:
        self._cell, self._cell_of, self._link = cell, cell_of, link
        self._writer, self._reads, self._vault, self._transactions = writer, reads, vault, transactions
        self.deciding = Decisions()
        self._due = asyncio.Event()

    def due(self) -> None:
        """A cell answers again: look at once what waits for it."""
        self._due.set()

    async def run(self) -> None:
        """Settle what waits, for as long as the node lives. One cell that is away does not hold up the others'."""
        while True:
            away: set[CellNo] = set()  # their turn comes again; nobody else's waits for it
            self._due.clear()
            try:
                unsettled = await self._reads.unsettled()
            except AWAY:
                unsettled = []  # what keeps the database from answering is said elsewhere
            for event_id, room, home, account, state in unsettled:
                if self._cell_of(home) in away or self.deciding.on(event_id):
                    continue
                try:
                    async with self.deciding.about(event_id):
                        await self._one(event_id, room, home, account, state)
                except _LATER:
                    away.add(self._cell_of(home))
                except Exception:
                    log.exception("cell %s: something that was sent to another cell could not be settled", self._cell)
            try:
                async with asyncio.timeout(AWAY_RETRY_S if away else SETTLE_EVERY_S):
                    await self._due.wait()
            except TimeoutError:
                continue

    async def _one(self, event_id: bytes, room: RoomNo, home: HomeNo, account: AccountNo, state: ContentState) -> None:
        if state is ContentState.OWED:
            await self._say_leaving(event_id, room, home, account)
        else:
            await self._settle(event_id, room, home, account)

    async def settled(self, event_id: bytes, account: AccountNo, seq: Seq | None) -> None:
        """The room's home has said what became of an event: its content stays, or goes with its transaction."""
        if seq is not None:
            await self._writer.submit(ContentLive(event_id=event_id))
            return
        txn = await self._reads.txn_of(account, event_id)
        await self._writer.submit(ContentVoid(event_id=event_id, txn=txn))
        if txn is not None:  # only now may it make another event: the table has its key once
            self._transactions.forget((txn.account, txn.device), txn.key)

    async def say_leaving(self, account: AccountNo, room: RoomNo, home: HomeNo) -> None:
        """Before somebody goes back into a room: tell its home that they have left. Raises: LinkDown, Unavailable.

        Cost: one statement; nothing for a room that is at home here.
        """
        if self._cell_of(home) == self._cell:
            return
        leaving = (await self._reads.leaving(account)).get(room)
        if leaving is not None:
            async with self.deciding.about(leaving.event_id):
                await self._say_leaving(leaving.event_id, room, home, account)

    async def _settle(self, event_id: bytes, room: RoomNo, home: HomeNo, account: AccountNo) -> None:
        row = (await self._reads.contents([event_id])).get(event_id)
        if row is None or row[1] == ContentState.LIVE:
            return  # it was decided while we waited for our turn
        seq = await self._link.call(self._cell_of(home), Settle(room=room, event_id=event_id))
        await self.settled(event_id, account, seq)

    async def _say_leaving(self, event_id: bytes, room: RoomNo, home: HomeNo, account: AccountNo) -> None:
        row = (await self._reads.contents([event_id])).get(event_id)
        if row is None or row[1] == ContentState.LIVE:
            return
        leaving = (await self._reads.leaving(account)).get(room)
        if leaving is None or leaving.event_id != event_id:  # it was never owed, or the room's home has spoken first
            await self._settle(event_id, room, home, account)
            return
        words = unpack(self._vault.open(account, event_id, row[2]))
        member = await self._reads.member(account, room)
        assert member is not None, "who leaves a room has a ref in it"
        try:
            await self._link.call(
                self._cell_of(home), Append(room=room, draft=leave_draft(leaving, member.home, words))
            )
        except MatrixError as error:
            if error.status >= 500:
                raise
            await self._writer.submit(LeaveSuperseded(leaving=leaving))
            return
        await self._writer.submit(ContentLive(event_id=event_id))


def leave_draft(leaving: Leaving, home: HomeNo, words: Words) -> Draft:
    """A leaving as the room's home gets it."""
    return Draft(
        event_id=leaving.event_id,
        home=home,
        sender=leaving.ref,
        minute=leaving.minute,
        words=words,
        target=leaving.ref,
        target_home=home,
        leaves=leaving.ends,
    )
