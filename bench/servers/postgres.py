"""What a running PostgreSQL says of itself, and which of its processes is the postmaster."""

from pathlib import Path

import asyncpg

SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_level",
    "shared_buffers",
    "max_wal_size",
    "server_version",
)


async def settings(dsn: str) -> dict[str, str]:
    """The settings that decide about durability and speed, asked of the server.

    Raises: OSError, asyncpg.PostgresError.
    """
    connection = await asyncpg.connect(dsn)
    try:
        return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in SETTINGS}
    finally:
        await connection.close()


def postmasters(directory: Path) -> list[int]:
    """The postmaster of each running cluster under `directory`; all else of a cluster are its children."""
    return [int(file.read_text().split("\n", 1)[0]) for file in sorted(directory.rglob("postmaster.pid"))]
