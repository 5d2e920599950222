"""Whether a database has exactly the tables that are declared."""

from typing import TYPE_CHECKING

from hutong.engines.tables import Placement, Table

if TYPE_CHECKING:
    import asyncpg

COLUMNS = """
    SELECT c.relname AS "table", a.attname AS "column", format_type(a.atttypid, NULL) AS type,
           NOT a.attnotnull AS "null", a.attstorage = 'e' AND a.attstattarget = 0 AS sealed
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"""
KEYS = """
    SELECT c.relname AS "table", array_agg(a.attname::text ORDER BY k.place) AS columns
    FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid
    CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE p.contype = 'p' AND c.relnamespace = 'public'::regnamespace
    GROUP BY c.relname"""
INDEXES = """
    SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT x.indisprimary"""
_TYPES = {"bigint": "int8", "integer": "int4", "smallint": "int2", "boolean": "bool", "bigint[]": "int8[]"}


async def differences(connection: "asyncpg.Connection[asyncpg.Record]", tables: tuple[Table, ...]) -> list[str]:
    """What the database has otherwise than `tables` declare, in words; nothing when they agree."""
    there = {
        (row["table"], row["column"]): (_TYPES.get(row["type"], row["type"]), row["null"], bool(row["sealed"]))
        for row in await connection.fetch(COLUMNS)
    }
    declared = {
        (table.name, column.name): (column.type, column.null, column.placement is Placement.HOME)
        for table in tables
        for column in table.columns
    }
    found = [
        f"column {'.'.join(name)} is {_said(there.get(name))}, declared {_said(declared.get(name))}"
        for name in sorted(there.keys() | declared.keys())
        if there.get(name) != declared.get(name)
    ]
    keys = {row["table"]: tuple(row["columns"]) for row in await connection.fetch(KEYS)}
    found += [
        f"the key of {table.name} is {', '.join(keys[table.name])}, declared {', '.join(table.key_columns)}"
        for table in tables
        if keys.get(table.name, table.key_columns) != table.key_columns
    ]
    indexes = {row["relname"] for row in await connection.fetch(INDEXES)}
    wanted = {index.split("INDEX ")[1].split()[0] for table in tables for index in table.indexes}
    found += [f"index {name} is {'missing' if name in wanted else 'not declared'}" for name in sorted(indexes ^ wanted)]
    return found


def _said(column: tuple[str, bool, bool] | None) -> str:
    if column is None:
        return "nowhere"
    type, null, sealed = column
    return f"{type}{' null' if null else ''}{' (not compressed, not in statistics)' if sealed else ''}"
