"""A cell's database, opened: brought up to date, and reached by a pool for reads and a connection for the writer."""

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from hutong.engines.migrations import GEN_MAX, Rev, migrate
from hutong.ids import CellNo

AWAY: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that has heard its end, but is not closed yet
    ConnectionError,
    FileNotFoundError,  # the socket of a server that has not started again yet
    TimeoutError,
)
"""What a statement raises when the database is away, restarts, or does not answer."""
NO_ROOM: tuple[type[Exception], ...] = (asyncpg.InsufficientResourcesError,)
"""What a statement raises when the disk is full, or another limit of the database is reached."""
POOL_MIN, POOL_MAX = 4, 10
CONNECTION_QUERIES_MAX, CONNECTION_IDLE_S_MAX = 50_000, 300.0
STATEMENTS_MAX = 400
"""How many statements a connection keeps prepared: all that there are."""
_TYPES = "SELECT " + ", ".join(
    f"${number}::{name}"
    for number, name in enumerate(("int2[]", "int4[]", "int8[]", "bool[]", "uuid[]", "bytea[]", "int8multirange"), 1)
)
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0


LET_GO_S = 0.5
"""How long the server is waited for to let go of a statement that nobody waits for any more."""


class CannotConnect(Exception):
    """A database does not let us in; the message says which, and why."""


@dataclass(frozen=True)
class Database:
    """`connect`: a direct connection, for the writer, whose lock must not be released behind its back."""

    pool: "asyncpg.Pool[Any]"
    connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]]
    rev: Rev

    async def close(self) -> None:
        self.pool.terminate()


class _Pool(asyncpg.Pool):
    """Whoever waits at most for so long, waits no longer, also when the server hangs.

    A statement that is given up is cancelled, and its connection comes back when the server has said so. One that says
    nothing is waited for as long as a whole statement may take; here, its connection is closed instead.
    """

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        with contextlib.suppress(TimeoutError):  # closed by then; who gave up has an error of their own
            await super().release(connection, timeout=LET_GO_S if timeout is None else timeout)


async def open_database(dsn: str, cell: CellNo, called: str) -> Database:
    """Migrate the database of `cell` and open it; `called` is what an operator knows the cell by.

    Raises: CannotConnect, WrongDatabase.
    """

    async def connect() -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)

    try:
        connection = await connect()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotConnect(
            f"the database of {called} cannot be reached: {error}; see that it runs, and that the DSN is right. "
            f"Nothing was started."
        ) from None
    try:
        rev = await migrate(connection, cell, lambda: secrets.randbelow(GEN_MAX - 1) + 1)
    finally:
        await connection.close()
    pool = await _Pool(
        dsn, min_size=POOL_MIN, max_size=POOL_MAX, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S,
        init=_learn_types, reset=_keep_session, statement_cache_size=STATEMENTS_MAX, max_cached_statement_lifetime=0,
        max_queries=CONNECTION_QUERIES_MAX, max_inactive_connection_lifetime=CONNECTION_IDLE_S_MAX, loop=None,
        connection_class=asyncpg.Connection, record_class=asyncpg.Record,
    )  # fmt: skip
    return Database(pool, connect, rev)


async def _learn_types(connection: "asyncpg.Connection[Any]") -> None:
    """Look up at once what the driver would look up statement by statement, while the first clients wait."""
    await connection.prepare(_TYPES)


async def _keep_session(_: object) -> None:
    """Nothing: no statement of ours changes its session. The driver's own reset costs a round trip per statement."""
