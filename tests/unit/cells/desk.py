"""The writer of one cell with all that it writes for, without HTTP: rooms are made and spoken in directly."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hutong import config
from hutong.cells.append import AppendOp, CreateOp
from hutong.cells.batch import Batch
from hutong.cells.directory import Directory
from hutong.cells.drafts import Home, SealedContent
from hutong.cells.memory import Memory
from hutong.cells.messages import Draft, RefReply
from hutong.cells.ops import StageContent
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Txn, Words
from hutong.cells.tail import Tail
from hutong.cells.words import Lost
from hutong.cells.writer import Writer
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, Minute, Pos, RegionNo, RoomNo, Seq, home_no, room_no

if TYPE_CHECKING:
    from tests.unit.cells.conftest import CellTables

CELL, ABROAD = CellNo(256), CellNo(512)
HERE, THERE = home_no(RegionNo(1), 7), home_no(RegionNo(2), 7)
ALICE, BOB = MemberRef(-11), MemberRef(12)
ALICES, BOBS = AccountNo(7), AccountNo(8)
_ids = itertools.count(1_000_000)  # above every number that a test makes up itself


def new_id() -> bytes:
    return (next(_ids) << 64 | next(_ids)).to_bytes(16, "big")


class Desk:
    """`committed` batches, in order, as the caches of readers get them; `lost` counts how often those were emptied.

    `minute` is what the clock says.
    """

    def __init__(self, tables: "CellTables") -> None:
        self.tables = tables
        self.committed: list[Batch] = []
        self.lost = 0
        self.minute = Minute(1)
        self.memory = Memory(tables.pool)
        self.tail = Tail(Pos(0))
        directory = Directory(config.load(None, {}, data=Path("/nowhere")))
        self.home = Home(
            cell=CELL, directory=directory, reads=Reads(tables.pool), room_code=lambda room, text: -len(text) - 1,
            refs=_nobody, words=_nothing, accounts_of=_none_of, out_numbers=self.memory.out_numbers,
            now=lambda: self.minute,
        )  # fmt: skip
        self.writer = Writer(CELL, tables.connect, self.memory, self.tail, self.publish, self._readers_start_over)

    def publish(self, batch: Batch) -> None:
        self.committed.append(batch)

    def _readers_start_over(self) -> None:
        self.lost += 1

    async def start(self) -> "Desk":
        await self.memory.load_counters()
        await self.writer.start()
        return self

    # What people do.

    async def create_room(self) -> RoomNo:
        """A public room of alice's."""
        raw = new_id()
        room = room_no(raw)
        await self.home.reads.give_ref(room, ALICE, ALICES, HERE)
        said = [
            ("m.room.create", b'{"room_version":"11"}', None),
            ("m.room.member", b'{"membership":"join"}', ALICE),
            ("m.room.join_rules", b'{"join_rule":"public"}', None),
        ]
        drafts: list[tuple[Draft, SealedContent | None]] = [
            (draft(type, json, state_key="", target=target), None) for type, json, target in said
        ]
        await self.writer.submit(
            CreateOp(home=self.home, room=room, room_id=raw, room_home=HERE, version=11, drafts=drafts)
        )
        return room

    def message(self, room: RoomNo, event_id: bytes | None = None, txn: Txn | None = None, **more: Any) -> AppendOp:
        said = draft("m.room.message", b'{"body":"x"}', event_id=event_id, **more)
        return AppendOp(self.home, room, said, SealedContent(ALICES, b"sealed"), txn)

    async def member(self, room: RoomNo, membership: str, ref: MemberRef, home: HomeNo) -> Seq:
        """Somebody says something about themselves."""
        said = draft(
            "m.room.member", b'{"membership":"%b"}' % membership.encode(), sender=ref, home=home, state_key="@x:y",
            target=ref,
        )  # fmt: skip
        return await self.writer.submit(AppendOp(self.home, room, said))

    async def stage(self, event_id: bytes, room: RoomNo, room_home: HomeNo) -> None:
        """Alice's content of an event that goes to another cell."""
        await self.writer.submit(
            StageContent(
                event_id=event_id, account=ALICES, room=room, room_home=room_home, body=b"sealed", minute=Minute(1),
                txn=None,
            )
        )  # fmt: skip

    # What is true of the tables.

    async def content_state(self, event_id: bytes) -> int | None:
        row = (await self.home.reads.contents([event_id])).get(event_id)
        return None if row is None else row[1]

    async def timeline(self, room: RoomNo) -> list[tuple[int, bytes]]:
        rows = await self.tables.pool.fetch("SELECT seq, event_id FROM events WHERE room = $1 ORDER BY seq", room)
        return [(row["seq"], row["event_id"].bytes) for row in rows]

    async def positions(self) -> list[int]:
        """Every position of the cell's log that stands in a table, each once."""
        rows = await self.tables.pool.fetch("SELECT pos FROM events WHERE pos > 0 UNION SELECT pos FROM log ORDER BY 1")
        return [row["pos"] for row in rows]

    async def kill_writer(self) -> None:
        """End the writer's backend, in the middle of whatever it does."""
        await self.tables.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )


def draft(
    type: str,
    json: bytes,
    *,
    event_id: bytes | None = None,
    sender: MemberRef = ALICE,
    home: HomeNo = HERE,
    state_key: str | None = None,
    target: MemberRef | None = None,
    redacts: bytes | None = None,
) -> Draft:
    return Draft(
        event_id=event_id or new_id(), home=home, sender=sender, minute=Minute(1),
        words=Words(0, type, state_key, json), target=target,
        target_home=None if target is None else home, redacts=redacts,
    )  # fmt: skip


async def _nobody(user_ids: Iterable[str], room: RoomNo) -> dict[str, RefReply]:
    return {}


async def _none_of(user_ids: Iterable[str]) -> list[AccountNo]:
    return []


async def _nothing(envelopes: Iterable[Envelope]) -> dict[bytes, Words | Lost]:
    return {}
