"""The databases of every cell that a node serves: given by DSN, or in a cluster that it starts for their region."""

import asyncio
from contextlib import AsyncExitStack

from hutong.config import Config, Region
from hutong.engines.databases import Database, open_database
from hutong.engines.postgres import EmbeddedPostgres
from hutong.ids import CellNo


async def open_databases(config: Config, on_stop: AsyncExitStack) -> dict[CellNo, Database]:
    """All regions at once. `on_stop` closes and stops what was opened, also when another does not open.

    Raises: CannotConnect, WrongDatabase, EngineMissing, EngineFailed.
    """

    async def of_region(region: Region) -> list[tuple[CellNo, Database]]:
        embedded = [cell for cell in region.cells if cell.database is None]
        cluster = EmbeddedPostgres(config.postgres_dir(region.name), config.logs_dir(region.name))
        if embedded:
            await cluster.start(*(cell.database_name for cell in embedded))
            on_stop.push_async_callback(cluster.stop)
        opened = []
        for cell in region.cells:
            dsn = cell.database or cluster.dsn(cell.database_name)
            database = await open_database(dsn, cell.number, f"cell {cell.index} of {region.name}")
            on_stop.push_async_callback(database.close)
            opened.append((cell.number, database))
        return opened

    started = await asyncio.gather(*map(of_region, config.local_regions), return_exceptions=True)
    found: dict[CellNo, Database] = {}
    for result in started:
        if isinstance(result, BaseException):
            raise result
        found.update(result)
    return found
