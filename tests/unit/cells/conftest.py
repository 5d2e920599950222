"""A cell's tables in a real PostgreSQL, for the tests of the writer and of what it writes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from hutong.cells import tables
from hutong.engines.postgres import EmbeddedPostgres
from hutong.ids import RoomNo
from tests.support.places import data_folder
from tests.unit.cells.desk import Desk


@dataclass(frozen=True)
class CellTables:
    """`connect`: as a writer connects; `pool`: as everybody else does."""

    dsn: str
    pool: "asyncpg.Pool[Any]"

    async def connect(self) -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(self.dsn)

    async def empty(self) -> None:
        """As on the first day: whoever tests a whole log begins with this."""
        await self.pool.execute(f"TRUNCATE {', '.join(table.name for table in tables.ALL)}")


@pytest.fixture(scope="module")
async def cell_tables() -> AsyncIterator[CellTables]:
    with data_folder("cell") as folder:
        postgres = EmbeddedPostgres(folder / "postgres")
        await postgres.start("cell0")
        pool = await asyncpg.create_pool(postgres.dsn("cell0"), min_size=1, max_size=4)
        for table in tables.ALL:
            await pool.execute(table.create_sql())
        yield CellTables(postgres.dsn("cell0"), pool)
        pool.terminate()
        await postgres.stop()


@pytest.fixture
async def desk(cell_tables: CellTables) -> AsyncIterator[Desk]:
    await cell_tables.empty()
    desk = await Desk(cell_tables).start()
    yield desk
    await desk.writer.stop()


@pytest.fixture
async def room(desk: Desk) -> RoomNo:
    return await desk.create_room()
