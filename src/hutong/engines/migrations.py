"""Numbered SQL files that bring a cell's database to the tables this version works with, and the cell's one row `rev`.

A file is `migrations/0002_what_it_does.sql`; it runs once, whole, in the order of the numbers. Tables are declared in
Python; a test holds what the files make against the declarations.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import asyncpg

from hutong.ids import CellNo, Minute, Pos

LOCK = int.from_bytes(b"hutong")
"""The advisory lock under which migrations run. A writer's lock is the small number of its cell."""
_FILE = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
GEN_MAX = 1 << 32
_NEW_REV = "INSERT INTO rev (cell, gen, schema, restored, restored_pos) VALUES ($1, $2, $3, 0, 0)"


class WrongDatabase(Exception):
    """The database is another cell's, or of another version; the message says which. Nothing was changed."""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str


@dataclass(frozen=True)
class Rev:
    """What a database says of itself: its generation (in every token) and the number of its last migration."""

    gen: int
    schema: int
    restored: Minute = Minute(0)
    """When it was last restored; 0: never."""
    restored_pos: Pos = Pos(0)
    """The head of its log then."""


@cache
def migrations() -> tuple[Migration, ...]:
    """Every migration, in order: 1, 2, 3 ... without a gap."""
    found = []
    for file in resources.files("hutong.engines").joinpath("migrations").iterdir():
        match = _FILE.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), "a gap between migrations"
    return tuple(found)


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]", cell: CellNo, new_gen: Callable[[], int]) -> Rev:
    """Bring the database of `cell` up to date. A new one gets the generation that `new_gen` gives (1 to 2**32 - 1).

    Two that start at once run one after the other. All of it is one transaction: it happens, or nothing does.

    Raises: WrongDatabase.
    """
    known = migrations()
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        rev = await read_rev(connection, cell)
        done = 0 if rev is None else rev.schema
        if done > len(known):
            raise WrongDatabase(
                f"the database of cell {cell} is of version {done}, this hutong knows versions up to {len(known)}:"
                " run the newer hutong"
            )
        for migration in known[done:]:
            await connection.execute(migration.sql)
        if rev is None:
            gen = new_gen()
            assert 0 < gen < GEN_MAX
            await connection.execute(_NEW_REV, cell, gen, len(known))
            return Rev(gen, len(known))
        if done < len(known):
            await connection.execute("UPDATE rev SET schema = $1", len(known))
        return replace(rev, schema=len(known))


async def read_rev(connection: "asyncpg.Connection[asyncpg.Record]", cell: CellNo) -> Rev | None:
    """What the database says of itself; None when it has no tables yet.

    Raises: WrongDatabase when it is another cell's.
    """
    if await connection.fetchval("SELECT to_regclass('public.rev')") is None:
        others = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        if others:
            raise WrongDatabase(f"the database given for cell {cell} holds {others} tables that are not hutong's")
        return None
    try:
        row = await connection.fetchrow("SELECT cell, gen, schema, restored, restored_pos FROM rev")
    except asyncpg.UndefinedColumnError:
        raise WrongDatabase(
            f"the database of cell {cell} was made by a hutong before its first release: start with new data"
        ) from None
    if row is None:
        raise WrongDatabase(f"the database given for cell {cell} has tables, but does not say whose: restore it again")
    if row["cell"] != cell:
        raise WrongDatabase(f"the database given for cell {cell} belongs to cell {row['cell']}")
    return Rev(row["gen"], row["schema"], row["restored"], row["restored_pos"])


def restored_sql(gen: int, minute: Minute) -> str:
    """The statement by which a database says that it was restored at `minute`, and is of generation `gen` from now on.

    Tokens of another generation start their clients afresh, and numbering goes on above what was given out and lost.
    """
    assert 0 < gen < GEN_MAX
    return (
        f"UPDATE public.rev SET gen = {gen:d}, restored = {minute:d},"
        " restored_pos = (SELECT coalesce(max(pos), 0) FROM public.log)"
    )
