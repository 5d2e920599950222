"""The databases of a configuration's cells, for commands that need no node."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from hutong.commands.common import Failed
from hutong.commands.folder import regions_in
from hutong.config import Cell, Config
from hutong.engines.node_lock import NodeLock, holder
from hutong.engines.postgres import EmbeddedPostgres


@asynccontextmanager
async def databases(config: Config, regions: list[str], *, alone: bool = False) -> AsyncIterator[dict[int, str]]:
    """The DSN of each cell of `regions`, by cell number, with their embedded clusters running until the end.

    While a node runs on the data folder its clusters are used as they are; otherwise they are started here, under the
    node's lock. `alone`: no node may be running.
    Raises: DataInUse, EngineFailed, EngineMissing; Failed when the data folder is no node's, or a region has no
        cluster yet.
    """
    async with AsyncExitStack() as stack:
        beside = not alone and holder(config.data) is not None
        if not beside:
            regions_in(config)
            stack.callback(NodeLock.acquire(config.data, 0).release)
        found: dict[int, str] = {}
        for name in regions:
            cluster: EmbeddedPostgres | None = None
            for cell in config.region(name).cells:
                if cell.database is not None:
                    found[cell.number] = cell.database
                    continue
                if cluster is None:
                    cluster = EmbeddedPostgres(config.postgres_dir(name))
                    if not cluster.exists:
                        raise Failed(f"region {name} has no database in {config.data} yet: `hutong serve` makes it")
                    if beside and not cluster.running():
                        raise Failed(f"the node on {config.data} is starting or stopping; try again")
                    if not beside:
                        stack.push_async_callback(cluster.stop)
                        await cluster.start()
                found[cell.number] = cluster.dsn(cell.database_name)
        yield found


@asynccontextmanager
async def connected(dsn: str, cell: Cell) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to the database of `cell`. Raises: Failed, without what the DSN says."""
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"the database of cell {cell.index} of {cell.region} cannot be reached: {error}") from None
    try:
        yield connection
    finally:
        await connection.close()
