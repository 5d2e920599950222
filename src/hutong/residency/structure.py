"""The structural check: a region's databases have the declared columns and no other, and values of the declared kind.

A name that is found proves a leak; that none is found proves little. Here the proof is of the other kind: a column of
integers, random ids or keyed hashes has no room for a word, and there is no other column. What is not declared fails.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import TYPE_CHECKING, Any

import msgspec

from hutong.engines.tables import Column, Placement, Table
from hutong.rooms import projection

if TYPE_CHECKING:
    from asyncpg import Connection

    Database = Connection[Any]

SAMPLE_ROWS = 20_000
"""Of each table so many rows are looked at, the whole of it when it is smaller."""
HASH_BYTES = (16, 32)
MINUTE_FIRST = 26_297_280
"""2020 began with this minute since 1970. An id begins with its minute."""
_PRINTABLE = bytes(range(32, 127))
_RANDOM_PART = 0.37
"""Of random bytes so many are printable ASCII. Of words nearly all are."""
_WORDS_PART = 0.7
_CHANCE = 1e-6
"""What is less likely than this did not come about by chance."""
_TYPES = {"int8": "bigint", "int4": "integer", "int2": "smallint", "bool": "boolean", "int8[]": "bigint[]"}

OBJECTS = """
    SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
    ORDER BY 1, 2"""
COLUMNS = """
    SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           a.attstorage::text AS storage, a.attstattarget AS target
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"""
# The view, as only a superuser may read the table.
STATISTICS = """SELECT tablename AS "table", attname AS name FROM pg_stats WHERE schemaname = 'public'"""
LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


@dataclass(frozen=True)
class Flaw:
    """Something that a database has and should not. `topic`: the heading of docs/residency.md that says why."""

    where: str
    what: str
    topic: str


async def undeclared(database: "Database", name: str, tables: Sequence[Table]) -> list[Flaw]:
    """What database `name` has beyond `tables`, lacks of them, or has in another shape. No `tables`: it is empty."""
    declared = {table.name: table for table in tables}
    flaws = [
        Flaw(f"{name}: {row['schema']}.{row['name']}", f"a {_KINDS[row['kind']]} that nothing declares", "undeclared")
        for row in await database.fetch(OBJECTS)
        if row["schema"] != "public" or row["kind"] != "r" or row["name"] not in declared
    ]
    if await database.fetchval(LARGE_OBJECTS):
        flaws.append(Flaw(f"{name}: pg_largeobject", "large objects, which nothing declares", "undeclared"))
    found: dict[str, dict[str, Any]] = {}
    for row in await database.fetch(COLUMNS):
        found.setdefault(row["table"], {})[row["name"]] = row
    for table in tables:
        real = found.get(table.name, {})
        for extra in sorted(real.keys() - {column.name for column in table.columns}):
            flaws += [Flaw(f"{name}: {table.name}.{extra}", "a column that nothing declares", "undeclared")]
        for column in table.columns:
            flaws += _shape(f"{name}: {table.name}.{column.name}", column, real.get(column.name))
    sealed = {(table.name, column.name) for table in tables for column in table.placed(Placement.HOME)}
    for row in await database.fetch(STATISTICS):
        if (row["table"], row["name"]) in sealed:
            where = f"{name}: {row['table']}.{row['name']}"
            flaws.append(Flaw(where, "the planner's statistics hold values of it", "planner-statistics"))
    return flaws


def _shape(where: str, column: Column, real: Any) -> Iterator[Flaw]:
    if real is None:
        yield Flaw(where, "declared, and not there", "undeclared")
        return
    if real["type"] != _TYPES.get(column.type, column.type):
        yield Flaw(where, f"declared as {column.type}, and is {real['type']}", "undeclared")
    if column.placement is Placement.HOME and real["storage"] != "e":
        yield Flaw(where, "sealed, and may be compressed: the scan could miss it", "undeclared")
    if column.placement is Placement.HOME and real["target"] != 0:
        yield Flaw(where, "sealed, and the planner may keep statistics of it", "planner-statistics")


async def wrong_values(database: "Database", name: str, table: Table, minute: int) -> list[Flaw]:
    """Columns of `table` whose values are not of the declared kind. `minute`: it is now.

    Cost: SAMPLE_ROWS rows, a few microseconds a value.
    """
    columns = [column for column in table.columns if column.placement is not Placement.HOME and column.type != "bool"]
    if not columns:
        return []
    total = await database.fetchval(f"SELECT count(*) FROM {table.name}")
    percent = 100.0 if total <= SAMPLE_ROWS else 100.0 * SAMPLE_ROWS / total
    names = ", ".join(column.name for column in columns)
    rows = await database.fetch(
        f"SELECT {names} FROM {table.name} TABLESAMPLE BERNOULLI ({percent}) LIMIT {2 * SAMPLE_ROWS}"
    )
    flaws = []
    for column in columns:
        values = [row[column.name] for row in rows if row[column.name] is not None]
        what = wrong_column(column, values, minute)
        if what:
            flaws.append(Flaw(f"{name}: {table.name}.{column.name}", what, "values"))
    return flaws


def wrong_column(column: Column, values: Sequence[Any], minute: int) -> str | None:
    """What is wrong with the values of one column, None when nothing is."""
    if column.type == "uuid":
        raw = [value.bytes for value in values]
        untimely = sum(not MINUTE_FIRST <= int.from_bytes(id[:4]) <= minute + 1_440 for id in raw)
        if untimely:
            return f"{untimely} of {len(raw)} ids do not begin with a minute, so hutong did not make them"
        return _not_random([id[4:] for id in raw], "ids")
    if column.type == "bytea" and column.placement is Placement.HASHED:
        lengths = {len(value) for value in values}
        if len(lengths) > 1 or not lengths <= set(HASH_BYTES):
            return (
                f"keyed hashes have one length, {HASH_BYTES[0]} or {HASH_BYTES[1]} bytes; here it is {sorted(lengths)}"
            )
        return _not_random([bytes(value) for value in values], "keyed hashes")
    if column.type == "bytea" and column.name == "proj":
        return _not_projections(values)
    if column.type == "bytea":
        return f"{len(values)} values of bytes that nothing says how to check" if values else None
    numbers = [number for value in values for number in (value if isinstance(value, list) else (value,))]
    # Counters and codes are small; refs and keyed hashes are random, and must not be eight letters.
    return _not_random([number.to_bytes(8, signed=True) for number in numbers if abs(number) >= 1 << 40], "numbers")


def _not_random(values: Collection[bytes], what: str) -> str | None:
    """Random values that are too alike, or are words. One that stands in many rows was still drawn only once."""
    values = set(values)
    worded = sum(len(value.translate(None, _PRINTABLE)) == 0 for value in values)
    expected = sum(_RANDOM_PART ** len(value) for value in values)
    # The chance of so many or more, by Poisson's law.
    if worded > 4 * expected and worded * log(expected) - lgamma(worded + 1) < log(_CHANCE):
        return f"{worded} of {len(values)} {what} are printable text"
    together = b"".join(values)
    printable = len(together) - len(together.translate(None, _PRINTABLE))
    if len(values) >= 20 and printable > _WORDS_PART * len(together):
        return f"{printable * 100 // len(together)} % of the bytes of {len(values)} {what} are printable: not random"
    return None


def _not_projections(values: Iterable[Any]) -> str | None:
    wrong = 0
    for value in values:
        try:
            again = projection.encode(projection.decode(bytes(value)))
        except msgspec.MsgspecError:
            wrong += 1
        else:
            wrong += again != bytes(value)
    return f"{wrong} values are no projection of a room: integers, refs and ids only" if wrong else None
