"""A data folder with a past: filled once through the public API, kept, and copied for each run.

It is kept in a folder that git ignores, and made anew when the tables have changed or something else would be in it.
"""

import asyncio
import hashlib
import inspect
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg

import hutong.engines
from bench.load import filling
from bench.load.commands import Fill, Progressed
from bench.run import Listener, started
from bench.servers.hutong import Hutong
from hutong.engines.postgres import EmbeddedPostgres

KEPT = Path(__file__).parent.parent / ".million"
MIGRATIONS = Path(hutong.engines.__file__).parent / "migrations"
STAMP = "filled-from"
PREFIX = "past"
"""Begins the names of the accounts, so that nobody who is measured has one."""


async def filled(accounts: int, events: int, told: Listener, kept: Path = KEPT) -> Path:
    """The data folder of a stopped node with so many accounts and about so many events. Copy it before you use it.

    Takes some minutes the first time. Raises: LoadFailed, NotStarted.
    """
    directory = kept / f"{accounts}-{events}"
    stamp, wanted = directory / STAMP, fingerprint(MIGRATIONS)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        await _fill(directory, accounts, events, told)
        stamp.write_text(wanted)
    return directory / "data"


def fingerprint(migrations: Path) -> str:
    """Changes when the tables do, or what the filler makes."""
    files = sorted(migrations.glob("*.sql"))
    parts = [inspect.getsource(filling).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


async def _fill(directory: Path, accounts: int, events: int, told: Listener) -> None:
    def progressed(so_far: Progressed) -> None:
        told.doing("filling a data folder, kept for the next time", f" {so_far.done:,} of {so_far.total:,}")

    server = Hutong(directory, data=directory / "data")
    async with AsyncExitStack() as stack:
        generator = await started(server, PREFIX, stack, told)
        await generator.tell(Fill(accounts=accounts, events=events), progressed)
        told.doing("filling a data folder, tidying up")
        await _tidy(EmbeddedPostgres(directory / "data" / "cn" / "postgres").dsn("cell0"))


async def _tidy(dsn: str) -> None:
    """What PostgreSQL does by itself in the hours after, so that it does not do it while something is measured."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
    finally:
        await connection.close()


async def copy(data: Path, to: Path) -> None:
    """With owners and modes, since PostgreSQL runs as another user."""
    process = await asyncio.create_subprocess_exec("cp", "-a", "--reflink=auto", str(data), str(to))
    if await process.wait():
        raise OSError(f"{data} could not be copied to {to}")
