"""One cell, put together: its writer and all that reads and feeds it, and what it answers other cells."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg

from hutong import config
from hutong.cells.append import AppendOp
from hutong.cells.batch import Batch
from hutong.cells.breaker import BreakingLink
from hutong.cells.codes import CellRole
from hutong.cells.cuts import Cuts
from hutong.cells.directory import Directory
from hutong.cells.drafts import Home
from hutong.cells.link import InProcessLinks, LinkDown, Request
from hutong.cells.memory import Memory
from hutong.cells.messages import (
    Append,
    Codes,
    CodesReply,
    Contents,
    EraseRef,
    EventById,
    Locate,
    Missed,
    MissedRooms,
    NamesOf,
    Page,
    PageReply,
    Ping,
    Pull,
    Push,
    RefReply,
    RefsIn,
    RefsOf,
    RoomFacts,
    Settle,
    SightOf,
    SightReply,
    Snapshot,
    StateAt,
)
from hutong.cells.missed import MissedRows
from hutong.cells.names import Names, People
from hutong.cells.ops import TellErased, VoidEvent
from hutong.cells.pulse import Pulse
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Member, Record
from hutong.cells.replication import Replication
from hutong.cells.retention import Retention
from hutong.cells.settling import Settling
from hutong.cells.tail import Tail
from hutong.cells.transactions import Transactions
from hutong.cells.view import View
from hutong.cells.words import WordsReader
from hutong.cells.writer import Writer
from hutong.engines.migrations import Rev
from hutong.errors import Forbidden, MatrixError, NotFound, RegionAway
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, room_no
from hutong.outage import Outage
from hutong.rooms import event_types
from hutong.vault.blind import BlindIndex
from hutong.vault.keystore import Keystore, KeystoreError
from hutong.vault.vault import Vault

log = logging.getLogger(__name__)

R = TypeVar("R")

PAGE_MAX = 1_000
SWEEP_EVERY_S = 3_600.0
OUT_BITS_PER_MINUTE = 32
HEAD_EVERY_S = 30.0


class Cell:
    def __init__(
        self,
        *,
        settings: config.Cell,
        region: config.Region,
        directory: Directory,
        rev: Rev,
        pool: "asyncpg.Pool[Any]",
        connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
        keystore: Keystore,
        vault: Vault,
        blind: BlindIndex,
        people: People,
        links: InProcessLinks,
        now: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.number: CellNo = settings.number
        self.region = region
        self.directory = directory
        self.gen = rev.gen
        self.pool = pool
        self.keystore = keystore
        self.vault = vault
        self.blind = blind
        self.now = now
        self.random = random
        self.links = links
        self.link = BreakingLink(self.number, links.of(self.number))
        self.reads = Reads(pool)
        self.pulse = Pulse(self.number, self.reads.alive)
        self.tail = Tail(Pos(0))
        self.memory = Memory(pool, rev.restored, rev.restored_pos)
        self.view = View(self.reads, directory.server_name)
        self.words = WordsReader(self.number, directory, self.reads, vault, self.link)
        self.names = Names(self.number, region, directory, pool, self.reads, self.link, people, random)
        self.transactions = Transactions(self.reads)
        self.retention = Retention(pool)
        self.missed = MissedRows(pool, directory)
        self.home = Home(
            cell=self.number,
            directory=directory,
            reads=self.reads,
            room_code=blind.room_code,
            refs=self.refs,
            words=self.words.fetch,
            accounts_of=self.names.accounts_of,
            out_numbers=self.memory.out_numbers,
            now=lambda: self.minute,
            out_floor=rev.restored << OUT_BITS_PER_MINUTE,
        )
        self.writer = Writer(self.number, connect, self.memory, self.tail, self._committed, self._started_over)
        self.replication = Replication(
            home=self.home,
            directory=directory,
            pool=pool,
            reads=self.reads,
            memory=self.memory,
            writer=self.writer,
            tail=self.tail,
            words=self.words,
            names=self.names,
            link=self.link,
        )
        self.settling = Settling(
            cell=self.number,
            cell_of=directory.cell_of,
            link=self.link,
            writer=self.writer,
            reads=self.reads,
            vault=vault,
            transactions=self.transactions,
        )
        self.cuts = Cuts(
            link=self.link,
            writer=self.writer,
            reads=self.reads,
            replication=self.replication,
            cell_of=directory.cell_of,
            minute=lambda: self.minute,
            settle=self.settling.due,
        )
        self.on_erased: list[Callable[[RoomNo, MemberRef], None]] = []
        """Each drops what it keeps in memory of a person in a room."""
        self.on_committed: list[Callable[[Sequence[Record]], None]] = []
        """Each hears of the records of every batch in the step that publishes it, after `view` has."""
        self.on_started_over: list[Callable[[], None]] = []
        """Each hears that batches were missed."""
        self._chores: list[asyncio.Task[None]] = []
        self._forgetting: set[asyncio.Task[None]] = set()

    @property
    def minute(self) -> Minute:
        return Minute(int(self.now() // 60))

    @property
    def problem(self) -> str | None:
        """What keeps this cell from its work, in plain words."""
        if not self.pulse.beats:
            return f"the database of cell {self.number} does not answer"
        return None if self.writer.ready else f"cell {self.number} cannot write"

    async def start(self) -> None:
        """Take the writer's lock, and answer other cells. Raises NotTheWriter, KeystoreError."""
        await self.replication.load()
        self.memory.voided = await self.reads.all_voided()
        await self.writer.start()
        self.keystore.check_head(self.gen, self.tail.head)
        self._serve()

    async def follow(self) -> None:
        """Follow the other cells, which answer by now: who does not is cut off."""
        await self.cuts.start()
        self.replication.start()
        loop = asyncio.get_running_loop()
        self._chores = [
            loop.create_task(self.pulse.run()),
            loop.create_task(self.settling.run()),
            loop.create_task(self._record_head()),
            loop.create_task(self._sweep()),
        ]

    async def stop(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.link.stop()
        await self.replication.stop()
        await self.writer.stop()
        try:
            await self.keystore.record_head(self.gen, self.tail.head)
        except KeystoreError as error:
            log.warning("cell %s: how far its log came is not recorded: %s", self.number, error)

    def _committed(self, batch: Batch) -> None:
        for record in batch.records:
            if record.event is not None and record.words is not None:
                self.words.keep(record.event.env.event_id, record.words)
        for event_id in batch.gone:
            self.words.drop(event_id)
        self.view.committed(batch)
        self.replication.committed(batch)
        for heard in self.on_committed:
            heard(batch.records)
        for room, ref in batch.erased:
            task = asyncio.get_running_loop().create_task(self.forget_person(room, ref))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    def _started_over(self) -> None:
        self.view.clear()
        for forget in self.on_started_over:
            forget()

    async def own_member(self, account: AccountNo, localpart: str, room: RoomNo) -> Member:
        """The member record of an account of this cell, made when there is none. The writer need not read a new one.

        Cost: one statement.
        """
        member, made = await self.names.own(account, localpart, room)
        if made:
            self.memory.know(member)
        return member

    async def ref(self, user_id: str, room: RoomNo, *, make: bool = True) -> RefReply | None:
        """The ref of a person in a room, see `Names.refs`. Raises: RegionAway."""
        return (await self.refs([user_id], room, make=make)).get(user_id)

    async def refs(self, user_ids: Iterable[str], room: RoomNo, *, make: bool = True) -> dict[str, RefReply]:
        """The refs of people in a room, see `Names.refs`. Raises: RegionAway."""
        try:
            return await self.names.refs(user_ids, room, make=make)
        except LinkDown as down:
            raise self.away(down.dest) from None

    async def ask(self, dest: CellNo, request: Request[R]) -> R:
        """Ask another cell for a client. Raises: RegionAway when it does not answer, else as `Link.call`."""
        try:
            return await self.link.call(dest, request)
        except LinkDown:
            raise self.away(dest) from None

    def away(self, cell: CellNo) -> RegionAway:
        """The error for a client when `cell` cannot be asked."""
        return RegionAway(self.directory.region_of_cell(cell).name)

    def cell_of(self, home: HomeNo) -> CellNo:
        return self.directory.cell_of(home)

    async def forget_person(self, room: RoomNo, ref: MemberRef) -> None:
        """Somebody is erased: nothing of theirs in `room` stays in memory here."""
        self.names.drop(room, ref)
        self.tail.forget_words(room, ref)
        for event_id in await self.reads.events_by(room, ref):
            self.words.drop(event_id)
        for forget in self.on_erased:
            forget(room, ref)

    async def member_cells(self, room: RoomNo) -> list[CellNo]:
        """The other cells with joined members of a room that is at home here."""
        state = await self.memory.load(room)
        return [] if state is None else [cell for cell, role in state.cells.items() if role == CellRole.MEMBER]

    # What other cells ask.

    def _serve(self) -> None:
        serve = self.links.serve
        serve(self.number, Ping, self._answer_ping)
        serve(self.number, Append, self._answer_append)
        serve(self.number, Settle, self._answer_settle)
        serve(self.number, Contents, self.words.answer)
        serve(self.number, NamesOf, self.names.answer)
        serve(self.number, RefsOf, self.names.answer_refs)
        serve(self.number, RefsIn, self.names.answer_refs_in)
        serve(self.number, Pull, self.replication.answer_pull)
        serve(self.number, Push, self.replication.answer_push)
        serve(self.number, MissedRooms, self.missed.answer_rooms)
        serve(self.number, Missed, self.missed.answer)
        serve(self.number, Snapshot, self.replication.answer_snapshot)
        serve(self.number, Page, self._answer_page)
        serve(self.number, StateAt, self._answer_state)
        serve(self.number, SightOf, self.answer_sight)
        serve(self.number, EventById, self._answer_event)
        serve(self.number, Codes, self._answer_codes)
        serve(self.number, EraseRef, self._answer_erase)
        serve(self.number, Locate, self._answer_locate)

    async def _answer_ping(self, _: CellNo, request: Ping) -> None:
        """Who cannot read is as good as cut off."""
        if not self.pulse.beats:
            raise ConnectionError
        await self.reads.alive()

    async def _answer_append(self, src: CellNo, request: Append) -> Seq:
        draft = request.draft
        if self.cell_of(draft.home) != src:
            raise Forbidden("sender: is not at home in the cell that sends this")
        try:
            return await self.writer.submit(AppendOp(self.home, request.room, draft))
        except MatrixError:
            # It may have come before: somebody who has left is refused to leave, when the reply got lost.
            event = await self.reads.event_by_id(draft.event_id)
            if event is None or (event.env.room, event.env.sender) != (request.room, draft.sender):
                raise
            return event.env.seq

    async def _answer_settle(self, _: CellNo, request: Settle) -> Seq | None:
        # Void it first, then look: whatever is there now was there before, and nothing can come after.
        event = await self.reads.event_by_id(request.event_id)
        if event is None:
            await self.writer.submit(VoidEvent(event_id=request.event_id, minute=self.minute))
            event = await self.reads.event_by_id(request.event_id)
        return None if event is None else event.env.seq

    async def _answer_page(self, _: CellNo, request: Page) -> PageReply:
        limit = min(request.limit, PAGE_MAX)
        events = await self.reads.page(request.room, request.start, limit, backwards=request.backwards)
        return PageReply(envelopes=[event.env for event in events], head=await self.reads.head(request.room))

    async def _answer_state(self, _: CellNo, request: StateAt) -> PageReply:
        events = await self.reads.state_at(request.room, request.at, request.members)
        return PageReply(envelopes=[event.env for event in events], head=await self.reads.head(request.room))

    async def answer_sight(self, _: CellNo, request: SightOf) -> SightReply:
        return await self.reads.sight(request.room, request.ref)

    async def _answer_event(self, _: CellNo, request: EventById) -> Envelope | None:
        event = await self.reads.event_by_id(request.event_id)
        return event.env if event is not None and event.env.room == request.room else None

    async def _answer_codes(self, _: CellNo, request: Codes) -> CodesReply:
        row = await self.reads.room(request.room)
        if row is None:
            raise NotFound("room_id: no such room")
        return self.codes_of(row["room_id"].bytes, request.type, request.state_key)

    def codes_of(self, room_id: bytes, type: str, state_key: str | None) -> CodesReply:
        """How a room that is at home here writes a type and a state key that is no user id."""
        code = event_types.code_of(type)
        number = self.blind.room_code(room_id, type) if code is None else code
        skey = None if state_key is None else self.blind.room_code(room_id, state_key) if state_key else 0
        return CodesReply(type=number, skey=skey)

    async def _answer_erase(self, _: CellNo, request: EraseRef) -> None:
        await self.writer.submit(TellErased(room=request.room, ref=request.ref, home=self.home))

    async def _answer_locate(self, _: CellNo, request: Locate) -> RoomFacts | None:
        facts = await self.replication.facts(room_no(request.room_id))
        at_home = facts is not None and self.cell_of(facts.home) == self.number
        return facts if at_home and facts is not None and facts.room_id == request.room_id else None

    # What a cell does for itself, now and then.

    async def _sweep(self) -> None:
        while True:
            try:
                self.memory.voided -= await self.retention.sweep(self.minute, self.tail.head)
            except Exception:
                log.exception("cell %s: what is old could not be swept", self.number)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _record_head(self) -> None:
        outage = Outage(log, f"cell {self.number}")
        while True:
            await asyncio.sleep(HEAD_EVERY_S)
            try:
                await self.keystore.record_head(self.gen, self.tail.head)
                outage.is_over()
            except KeystoreError as error:
                outage.goes_on(f"how far its log came is not recorded: {error}")
