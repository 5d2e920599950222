"""Migrations make exactly the declared tables, also when two nodes start at once, and know whose database it is."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from hutong.engines.migrations import Rev, WrongDatabase, migrate, migrations, read_rev, restored_sql
from hutong.engines.postgres import EmbeddedPostgres
from hutong.engines.structure import differences
from hutong.ids import CellNo, Minute, Pos
from hutong.schema import BASELINE, TABLES, baseline

CELL = CellNo(256)


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("migrations") / "postgres")
    await postgres.start()
    yield postgres
    await postgres.stop()


_numbers = count()


@pytest.fixture
async def dsn(cluster: EmbeddedPostgres) -> str:
    """An empty database."""
    name = f"empty{next(_numbers)}"
    await cluster.ensure_databases(name)
    return cluster.dsn(name)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    made = await asyncpg.connect(dsn)
    yield made
    await made.close()


def test_the_first_migration_is_what_is_declared() -> None:
    assert BASELINE.read_text() == baseline(), "run `make schema`"


async def test_they_make_exactly_the_declared_tables(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await migrate(connection, CELL, lambda: 77) == Rev(77, len(migrations()))
    assert await differences(connection, TABLES) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE content ADD COLUMN subject text", "column content.subject is text null, declared nowhere"),
        ("ALTER TABLE rooms ALTER home TYPE int8", "column rooms.home is int8, declared int4"),
        ("ALTER TABLE content ALTER body SET STATISTICS 100", "column content.body is bytea, declared bytea (not comp"),
        ("DROP INDEX events_by_pos", "index events_by_pos is missing"),
        ("CREATE INDEX extra ON rooms (home)", "index extra is not declared"),
    ],
)
async def test_what_differs_is_named(connection: "asyncpg.Connection[asyncpg.Record]", change: str, said: str) -> None:
    await migrate(connection, CELL, lambda: 77)
    await connection.execute(change)
    found = await differences(connection, TABLES)
    assert len(found) == 1
    assert found[0].startswith(said)


async def test_two_that_start_at_once_agree_on_one_generation(dsn: str) -> None:
    gens = count(100)

    async def start() -> Rev:
        connection = await asyncpg.connect(dsn)
        try:
            return await migrate(connection, CELL, lambda: next(gens))
        finally:
            await connection.close()

    assert set(await asyncio.gather(*(start() for _ in range(4)))) == {Rev(100, len(migrations()))}


async def test_a_restored_database_gets_a_new_generation(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await migrate(connection, CELL, lambda: 77)
    await connection.execute(restored_sql(78, Minute(29_000_000)))
    assert await migrate(connection, CELL, lambda: 79) == Rev(78, len(migrations()), Minute(29_000_000), Pos(0))


async def test_another_cells_database_is_refused(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await migrate(connection, CELL, lambda: 77)
    with pytest.raises(WrongDatabase, match="given for cell 512 belongs to cell 256"):
        await migrate(connection, CellNo(512), lambda: 78)


async def test_a_database_of_something_else_is_refused(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.execute("CREATE TABLE invoices (n int)")
    with pytest.raises(WrongDatabase, match="holds 1 tables that are not hutong's"):
        await migrate(connection, CELL, lambda: 77)
    assert await connection.fetchval("SELECT to_regclass('rooms')") is None


async def test_a_database_of_a_newer_hutong_is_refused(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await read_rev(connection, CELL) is None
    await migrate(connection, CELL, lambda: 77)
    await connection.execute("UPDATE rev SET schema = 900")
    with pytest.raises(WrongDatabase, match="is of version 900, this hutong knows versions up to"):
        await migrate(connection, CELL, lambda: 78)


async def test_a_database_from_before_the_first_release_is_refused(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    await connection.execute("CREATE TABLE rev (cell int4, gen int8)")
    with pytest.raises(WrongDatabase, match="before its first release: start with new data"):
        await migrate(connection, CELL, lambda: 77)


def test_every_table_of_the_product_is_listed_once() -> None:
    names = [table.name for table in TABLES]
    assert len(names) == len(set(names))
    assert Path(BASELINE).name == migrations()[0].name
