"""The embedded PostgreSQL against kill -9, closed folders, long paths and garbage left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from hutong.engines.postgres import EmbeddedPostgres, EngineFailed, _processes_in
from hutong.engines.postgres_conf import REQUIRED

ABANDON = """
import asyncio, os, signal, sys
from pathlib import Path
from hutong.engines.postgres import EmbeddedPostgres
async def main():
    await EmbeddedPostgres(Path(sys.argv[1])).start("cell0")
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A cluster that is running; its folder lies under one that only its owner can enter."""
    made = EmbeddedPostgres(tmp_path / "ru" / "postgres")
    await made.start("cell0")
    yield made
    await made.stop()


async def _ask(postgres: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(postgres.dsn("cell0"))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_it_is_durable_and_its_log_holds_no_words(postgres: EmbeddedPostgres) -> None:
    for name, valid in REQUIRED.items():
        assert await _ask(postgres, f"SHOW {name}") in valid, name
    assert await _ask(postgres, "SHOW data_checksums") == "on"
    assert await _ask(postgres, "SELECT datcollate || datctype FROM pg_database WHERE datname = 'cell0'") == "CC"
    with pytest.raises(asyncpg.PostgresError):
        await _ask(postgres, "SELECT 'a secret word' FROM nowhere")
    assert "secret" not in postgres.log_file.read_text()


async def test_hutong_is_no_superuser_and_nobody_comes_by_network(postgres: EmbeddedPostgres) -> None:
    assert await _ask(postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert await _ask(postgres, "SHOW listen_addresses") == ""
    assert postgres.directory.stat().st_mode & 0o77 == 0


async def test_what_was_written_is_there_after_stop_and_start(postgres: EmbeddedPostgres) -> None:
    await _ask(postgres, "CREATE TABLE kept AS SELECT 7 AS n")
    await postgres.stop()
    assert not postgres.running()
    await postgres.start("cell0", "cell1")
    assert postgres.running()
    assert await _ask(postgres, "SELECT n FROM kept") == 7


async def test_a_killed_server_is_started_again(postgres: EmbeddedPostgres) -> None:
    await _ask(postgres, "CREATE TABLE kept AS SELECT 7 AS n")
    process = postgres._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await _until(lambda: postgres._process is not process and postgres.running())
    assert await _ask(postgres, "SELECT n FROM kept") == 7


async def test_an_orphan_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    assert subprocess.run([sys.executable, "-c", ABANDON, str(directory)], check=False).returncode == -signal.SIGKILL
    orphans = _processes_in(directory)
    assert orphans
    postgres = EmbeddedPostgres(directory)
    try:
        await postgres.start("cell0")
        assert not orphans & _processes_in(directory)
        assert await _ask(postgres, "SELECT 1") == 1
    finally:
        await postgres.stop()
    assert not _processes_in(directory)


async def test_after_everything_was_killed_the_next_start_recovers(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    subprocess.run([sys.executable, "-c", ABANDON, str(directory)], check=False)
    postgres = EmbeddedPostgres(directory)
    connection = await asyncpg.connect(postgres.dsn("cell0"))
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    for pid in _processes_in(directory):
        with contextlib.suppress(ProcessLookupError):  # its parent is gone already, and it followed
            os.kill(pid, signal.SIGKILL)
    await _until(lambda: not _processes_in(directory))
    connection.terminate()
    # By chance a living process has the number that the stale file names.
    stale = directory / "postmaster.pid"
    stale.write_text(stale.read_text().replace(stale.read_text().split("\n")[0], str(os.getppid()), 1))
    try:
        await postgres.start("cell0")
        assert await _ask(postgres, "SELECT n FROM kept") == 7
    finally:
        await postgres.stop()


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / ("x" * 120) / "postgres")
    try:
        await postgres.start("cell0")
        assert await _ask(postgres, "SELECT 1") == 1
    finally:
        await postgres.stop()


async def test_half_a_cluster_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres.part"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    try:
        await postgres.start("cell0")
        assert await _ask(postgres, "SELECT 1") == 1
        assert not half.exists()
    finally:
        await postgres.stop()


async def test_a_cluster_of_another_version_is_refused(postgres: EmbeddedPostgres) -> None:
    await postgres.stop()
    (postgres.directory / "PG_VERSION").write_text("16\n")
    with pytest.raises(EngineFailed, match="was written by PostgreSQL 16, this hutong has 18"):
        await postgres.start("cell0")


async def test_a_start_that_fails_says_why_and_leaves_nothing_running(postgres: EmbeddedPostgres) -> None:
    await postgres.stop()
    (postgres.directory / "local.conf").write_text("shared_buffers = plenty\n")
    with pytest.raises(EngineFailed, match=r"did not start: .*FATAL.*postgres\.log"):
        await postgres.start("cell0")
    assert not _processes_in(postgres.directory)
    (postgres.directory / "local.conf").write_text("work_mem = 5MB\n")
    await postgres.start("cell0")
    assert await _ask(postgres, "SHOW work_mem") == "5MB"
