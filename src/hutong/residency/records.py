"""Opening sealed records at home, to learn what must be nowhere in clear. Reads one cell's database, writes nothing."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hutong.config import Region
from hutong.engines.tables import Placement, Table
from hutong.ids import AccountNo
from hutong.residency.markers import PIECE_BYTES, Control, Kind, Marker, parts
from hutong.residency.words import words
from hutong.vault.vault import Gone, Unopenable, Vault

if TYPE_CHECKING:
    from asyncpg import Connection

    Database = Connection[Any]

PEOPLE_MAX = 20_000
NEWEST_MAX = 5_000
RANDOM_MAX = 5_000
"""Of a table's records an audit opens so many: the newest, and others at random. Of accounts, PEOPLE_MAX."""
PIECES_MAX = 1_000
"""Of one cell's records so many are looked for in other regions, whatever they open to."""
TEXTS_MAX = 100_000
"""Of one cell. More are not kept, since far fewer are searched."""
_FETCH = 1_000
CONTROLS_MAX = 3
"""So many records that open to one marker are kept: one proves it, and more say the same."""


@dataclass(frozen=True)
class Sealed:
    """One sealed value, and what it needs to be opened. `piece`: what is looked for in the files."""

    table: str
    column: str
    account: AccountNo
    id: bytes
    value: bytes

    @property
    def piece(self) -> bytes:
        return self.value[:PIECE_BYTES]

    @property
    def control(self) -> Control:
        return Control(self.piece, self.table, self.column, self.id)


@dataclass
class Text:
    """A string that sealed records opened to. `rank`: as in Marker."""

    rank: int
    controls: list[Control] = field(default_factory=list)


@dataclass
class Opened:
    """What one cell's sealed records opened to.

    `unopenable`: of how many records, by table and column, the key is not this cell's, or the bytes are not what was
    sealed. `sampled`: (opened, all) by table and column, where not all were.
    """

    texts: dict[tuple[Kind, bytes], "Text"] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    opened: int = 0
    gone: int = 0
    unopenable: dict[str, int] = field(default_factory=dict)
    sampled: dict[str, tuple[int, int]] = field(default_factory=dict)


def id_column(table: Table, column: str) -> str:
    """The column with the id that `column` was sealed for: `<column>_id`, else `id`."""
    names = {each.name for each in table.columns}
    own = f"{column}_id"
    if own in names:
        return own
    assert {"id", "account"} <= names, f"{table.name}.{column}: no id or no account to open it with"
    return "id"


async def open_records(
    database: "Database", vault: Vault, region: Region, tables: Iterable[Table], given: Collection[bytes]
) -> Opened:
    """Open the sealed records of one cell: a sample of each table, or all of them when there are `given` strings.

    Cost: two microseconds for each record, and its transfer.
    """
    found = Opened()
    for table in tables:
        for column in table.placed(Placement.HOME):
            async for sealed in _sealed(database, table, column.name, found, everything=bool(given)):
                _open(vault, region, sealed, found, given)
    return found


def _open(vault: Vault, region: Region, sealed: Sealed, found: Opened, given: Collection[bytes]) -> None:
    try:
        plain = vault.open(sealed.account, sealed.id, sealed.value)
    except Gone:
        found.gone += 1
        return
    except Unopenable:
        where = f"{sealed.table}.{sealed.column}"
        found.unopenable[where] = found.unopenable.get(where, 0) + 1
        return
    found.opened += 1
    if len(found.pieces) < PIECES_MAX:
        found.pieces.append(sealed.piece)
    for word in words(sealed.table, sealed.column, plain, region.server_name):
        whole = word.text.encode("utf-8", "surrogatepass")
        for text in given:
            if text in whole:
                _note(found, Kind.GIVEN, text, sealed)
        if len(found.texts) < TEXTS_MAX:
            for rank, part in enumerate([whole] if word.kind is not Kind.CONTENT else parts(word.text)):
                _note(found, word.kind, part, sealed, rank)
    for text in given:
        if text in plain:
            _note(found, Kind.GIVEN, text, sealed)


def _note(found: Opened, kind: Kind, part: bytes, sealed: Sealed, rank: int = 0) -> None:
    text = found.texts.setdefault((kind, part), Text(rank))
    text.rank = min(text.rank, rank)
    if len(text.controls) < CONTROLS_MAX and sealed.control not in text.controls:
        text.controls.append(sealed.control)


async def _sealed(
    database: "Database", table: Table, column: str, found: Opened, *, everything: bool
) -> AsyncIterator[Sealed]:
    id = id_column(table, column)
    select = f"SELECT account, {id} AS id, {column} AS value FROM {table.name}"
    filled = f"{column} IS NOT NULL"
    total = await database.fetchval(f"SELECT count(*) FROM {table.name} WHERE {filled}")
    most = PEOPLE_MAX if table.name == "accounts" else NEWEST_MAX + RANDOM_MAX
    if everything or total <= most:
        queries = [f"{select} WHERE {filled}"]
    else:
        # Ids begin with the minute, so the greatest are the newest.
        newest = NEWEST_MAX * most // (NEWEST_MAX + RANDOM_MAX)
        percent = min(100.0, 110.0 * (most - newest) / total)
        queries = [
            f"{select} WHERE {filled} ORDER BY {id} DESC LIMIT {newest}",
            f"{select} TABLESAMPLE BERNOULLI ({percent}) WHERE {filled} LIMIT {most - newest}",
        ]
        found.sampled[f"{table.name}.{column}"] = (most, total)
    for query in queries:
        async with database.transaction(readonly=True):
            cursor = await database.cursor(query)
            while rows := await cursor.fetch(_FETCH):
                for row in rows:
                    yield Sealed(table.name, column, AccountNo(row["account"]), row["id"].bytes, bytes(row["value"]))


def markers(region: str, opened: Sequence[Opened], common: Mapping[bytes, object]) -> list[Marker]:
    """The markers of one region. Texts of `common` are words of the software itself, and nobody's."""
    merged: dict[tuple[Kind, bytes], Text] = {}
    for each in opened:
        for key, text in each.texts.items():
            into = merged.setdefault(key, Text(text.rank))
            into.controls = [*into.controls, *text.controls][:CONTROLS_MAX]
    return [
        Marker(kind, region, part, tuple(text.controls), text.rank)
        for (kind, part), text in merged.items()
        if kind in (Kind.USER_ID, Kind.GIVEN) or part not in common
    ]


async def still_there(database: "Database", tables: Iterable[Table], controls: Iterable[Control]) -> set[Control]:
    """Those of `controls` whose records have not changed since they were opened."""
    named = {table.name: table for table in tables}
    wanted: dict[tuple[str, str], list[Control]] = {}
    for control in controls:
        wanted.setdefault((control.table, control.column), []).append(control)
    found = set()
    for (name, column), each in wanted.items():
        id = id_column(named[name], column)
        rows = await database.fetch(
            f"SELECT {id} AS id, {column} AS value FROM {name} WHERE {id} = ANY($1)",
            [UUID(bytes=control.id) for control in each],
        )
        there = {(row["id"].bytes, bytes(row["value"])[:PIECE_BYTES]) for row in rows if row["value"] is not None}
        found |= {control for control in each if (control.id, control.piece) in there}
    return found
