"""A backup comes back as it was, whole or not at all."""

import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from hutong.engines.backup import ToolFailed, _without_password, dump, restore
from hutong.engines.migrations import Rev, migrate, migrations, read_rev
from hutong.engines.postgres import EmbeddedPostgres
from hutong.engines.structure import differences
from hutong.ids import CellNo, Minute, Pos
from hutong.schema import TABLES

CELL = CellNo(256)
VOID = "INSERT INTO voided (event_id, minute) VALUES ($1, $2)"


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("backup") / "postgres")
    await postgres.start("cell0")
    yield postgres
    await postgres.stop()


@pytest.fixture
async def connection(cluster: EmbeddedPostgres) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The cell's database with its tables, and nothing in them but what earlier tests left."""
    made = await asyncpg.connect(cluster.dsn("cell0"))
    await migrate(made, CELL, lambda: 77)
    yield made
    await made.close()


@pytest.fixture
def backup(cluster: EmbeddedPostgres, connection: "asyncpg.Connection[Any]") -> bytes:
    target = io.BytesIO()
    dump(cluster.dsn("cell0"), target)
    return target.getvalue()


async def test_what_came_after_the_backup_is_gone_and_the_generation_is_new(
    cluster: EmbeddedPostgres, connection: "asyncpg.Connection[Any]"
) -> None:
    before, after = uuid4(), uuid4()
    await connection.execute(VOID, before, 1)
    backup = io.BytesIO()
    dump(cluster.dsn("cell0"), backup)
    await connection.execute(VOID, after, 2)
    await connection.execute("CREATE TABLE of_a_newer_hutong (n int8)")
    backup.seek(0)
    restore(cluster.dsn("cell0"), backup, gen=78, minute=Minute(9))
    assert await connection.fetchval("SELECT count(*) FROM voided WHERE event_id = $1", before) == 1
    assert await connection.fetchval("SELECT count(*) FROM voided WHERE event_id = $1", after) == 0
    assert await read_rev(connection, CELL) == Rev(78, len(migrations()), Minute(9), Pos(0))
    assert await differences(connection, TABLES) == []


@pytest.mark.parametrize("kept", [0, 100, 2_000, -10])
async def test_half_a_backup_changes_nothing(
    cluster: EmbeddedPostgres, connection: "asyncpg.Connection[Any]", backup: bytes, kept: int
) -> None:
    now = uuid4()
    await connection.execute(VOID, now, 1)
    rev = await read_rev(connection, CELL)
    with pytest.raises(ToolFailed, match="pg_restore ended with status"):
        restore(cluster.dsn("cell0"), io.BytesIO(backup[:kept]), gen=79, minute=Minute(9))
    assert await connection.fetchval("SELECT count(*) FROM voided WHERE event_id = $1", now) == 1
    assert await read_rev(connection, CELL) == rev


async def test_a_database_that_refuses_the_backup_keeps_what_it_had(
    cluster: EmbeddedPostgres, connection: "asyncpg.Connection[Any]", backup: bytes
) -> None:
    await connection.execute("CREATE SEQUENCE in_the_way")
    await connection.execute("ALTER INDEX accounts_by_name RENAME TO elsewhere")
    await connection.execute("ALTER SEQUENCE in_the_way RENAME TO accounts_by_name")
    rev = await read_rev(connection, CELL)
    with pytest.raises(ToolFailed, match=r"psql ended with status 3: .*accounts_by_name.* already exists"):
        restore(cluster.dsn("cell0"), io.BytesIO(backup), gen=80, minute=Minute(9))
    assert await read_rev(connection, CELL) == rev
    await connection.execute("DROP SEQUENCE accounts_by_name")
    restore(cluster.dsn("cell0"), io.BytesIO(backup), gen=81, minute=Minute(9))
    assert await differences(connection, TABLES) == []


def test_no_database_is_named() -> None:
    with pytest.raises(ToolFailed, match=r"pg_dump ended with status 1: .*error"):
        dump("postgresql://nobody@/none?host=/nowhere", io.BytesIO())


def test_a_password_is_not_seen_in_a_list_of_processes() -> None:
    dsn = "postgresql://hutong:s%40cret@10.0.0.1:5432/cell?sslmode=require"
    assert _without_password(dsn) == "postgresql://hutong@10.0.0.1:5432/cell?sslmode=require"
    assert _without_password("postgresql://hutong@/cell") == "postgresql://hutong@/cell"
