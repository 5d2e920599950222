"""The writer's own backend, on a real PostgreSQL: killed in mid-batch, stopped, and beside an open snapshot."""

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from hutong.cells import tables
from hutong.cells import writer as writer_module
from hutong.cells.codes import OutKind
from hutong.cells.ingest import Ingest
from hutong.cells.messages import OutRow
from hutong.engines.postgres import EmbeddedPostgres
from hutong.errors import Unavailable
from hutong.ids import Minute, RoomNo, Seq
from tests.support.places import data_folder
from tests.unit.cells.conftest import CellTables
from tests.unit.cells.desk import ABROAD, BOB, Desk, new_id

KILLS, KILLS_SOAKING = 6, 200
SENDERS = 20
COMMITS, COMMITS_SOAKING = 600, 15_000
BLOCK = 50
COUNT = "SELECT (SELECT count(*) FROM events) + (SELECT coalesce(sum(n), 0) FROM in_cursor)"
SLOWER_MAX, SLOWER_MAX_SOAKING = 1.5, 1.1


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    with data_folder("backend") as folder:
        server = EmbeddedPostgres(folder / "postgres")
        await server.start("cell0", "cell1")
        yield server
        await server.stop()


@pytest.fixture
async def desks(postgres: EmbeddedPostgres) -> AsyncIterator[list[Desk]]:
    """Two cells that know nothing of each other."""
    desks = []
    for name in ("cell0", "cell1"):
        pool = await asyncpg.create_pool(postgres.dsn(name), min_size=1, max_size=4)
        for table in tables.ALL:
            await pool.execute(f"DROP TABLE IF EXISTS {table.name}")
            await pool.execute(table.create_sql())
        desks.append(await Desk(CellTables(postgres.dsn(name), pool)).start())
    yield desks
    for desk in desks:
        await desk.writer.stop()
        desk.tables.pool.terminate()


async def backend(desk: Desk) -> int:
    """The process that writes for `desk`; waits until there is one."""
    query = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database"
    )
    async with asyncio.timeout(30):
        while True:
            pid = await desk.tables.pool.fetchval(f"{query} WHERE datname = current_database())")
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.005)


async def send(desk: Desk, room: RoomNo, acknowledged: dict[bytes, int]) -> None:
    """One message, sent again as a client does until it is acknowledged."""
    event_id = new_id()
    while True:
        try:
            acknowledged[event_id] = await desk.writer.submit(desk.message(room, event_id))
        except Unavailable:
            await asyncio.sleep(0.01)
        else:
            return


@pytest.mark.soak
async def test_a_backend_killed_in_mid_batch_loses_and_doubles_nothing(
    desks: list[Desk], soaking: bool, seeded: random.Random
) -> None:
    desk = desks[0]
    room = await desk.create_room()
    acknowledged: dict[bytes, int] = {}
    over = False

    async def go_on() -> None:
        while not over:
            await send(desk, room, acknowledged)

    senders = [asyncio.create_task(go_on()) for _ in range(SENDERS)]
    holder = await desk.tables.connect()
    for turn in range(KILLS_SOAKING if soaking else KILLS):
        enough = len(acknowledged) + seeded.randrange(1, 60)
        while len(acknowledged) < enough:
            await asyncio.sleep(0)
        pid = await backend(desk)
        kill = f"SELECT pg_terminate_backend({pid})"
        if turn % 2:  # held up within its statement: it is certain that nothing was committed
            async with holder.transaction():
                await holder.execute("LOCK TABLE events IN EXCLUSIVE MODE")
                while not await holder.fetchval(
                    f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}"
                ):
                    await asyncio.sleep(0)
                await holder.execute(kill)
        else:  # at any moment, also just after its commit
            await asyncio.sleep(seeded.random() * 0.01)
            await holder.execute(kill)
        while await backend(desk) == pid:
            await asyncio.sleep(0.005)
    over = True
    await asyncio.gather(*senders)
    await holder.close()
    timeline = await desk.timeline(room)
    assert [seq for seq, _ in timeline] == list(range(1, len(timeline) + 1))
    assert {event_id: seq for seq, event_id in timeline[3:]} == acknowledged
    assert await desk.positions() == list(range(1, desk.tail.head + 1))


async def test_nobody_waits_long_for_a_backend_that_hangs(desks: list[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither answers nor lets go of the lock. Whoever waits is told to try again, and it goes on where it was."""
    desk = desks[0]
    room = await desk.create_room()
    patience = writer_module.RECONNECT_PATIENCE_S
    monkeypatch.setattr(writer_module, "RECONNECT_PATIENCE_S", 0.2)
    pid, event_id = await backend(desk), new_id()
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(patience / 2):
            with pytest.raises(Unavailable):
                await desk.writer.submit(desk.message(room, event_id))
            with pytest.raises(Unavailable):
                await desk.writer.submit(desk.message(room))
        assert len(await desk.timeline(room)) == 3, "reading goes on"
    finally:
        os.kill(pid, signal.SIGCONT)
    acknowledged: dict[bytes, int] = {}
    async with asyncio.timeout(patience):
        await send(desk, room, acknowledged)
    timeline = await desk.timeline(room)
    assert sum(id == event_id for _, id in timeline) <= 1
    assert [seq for seq, _ in timeline] == list(range(1, len(timeline) + 1))
    assert acknowledged.items() <= {id: seq for seq, id in timeline}.items()


async def take_in(desk: Desk, number: int) -> None:
    """The smallest thing that comes from another cell: nothing but the cursor is written."""
    rows = [OutRow(n=number + 1, room=RoomNo(1), seq=Seq(0), kind=OutKind.ERASED, a=BOB)]
    await desk.writer.submit(
        Ingest(home=desk.home, src=ABROAD, after=number, rows=rows, snapshots={}, words={}, mentioned={})
    )


@pytest.mark.soak
@pytest.mark.parametrize("work", ["sends", "takes in"])
async def test_a_snapshot_that_stays_open_slows_nothing(desks: list[Desk], work: str, soaking: bool) -> None:
    """A backup, or an analyst. Two cells take turns on one machine, one of them with the snapshot."""
    rooms = [await desk.create_room() for desk in desks]
    reader = await desks[0].tables.connect()
    took: list[list[float]] = [[], []]
    async with reader.transaction(isolation="repeatable_read"):
        before = await reader.fetchval(COUNT)
        for block in range((COMMITS_SOAKING if soaking else COMMITS) // BLOCK):
            for turn in (0, 1) if block % 2 else (1, 0):
                desk = desks[turn]
                desk.minute = Minute(block)
                started = time.perf_counter()
                for number in range(block * BLOCK, (block + 1) * BLOCK):
                    await (desk.writer.submit(desk.message(rooms[turn])) if work == "sends" else take_in(desk, number))
                took[turn].append(time.perf_counter() - started)
        assert await reader.fetchval(COUNT) == before, "the snapshot was open all the time"
    await reader.close()
    pairs = [with_it / without for with_it, without in zip(*took, strict=True)]  # what else the machine did hit both
    slower = statistics.median(pairs[-len(pairs) // 3 :])
    assert slower <= (SLOWER_MAX_SOAKING if soaking else SLOWER_MAX), f"{slower:.2f} times as slow with the snapshot"
