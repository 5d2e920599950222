"""How a table is declared: every column under the placement that says where its values may lie at rest.

A column without placement cannot be written, because a column has no other place to be written in. The migrations, the
structural audit and `docs/residency.md` are made from these declarations. No I/O.
"""

import re
from dataclasses import InitVar, dataclass, field
from enum import StrEnum


class Placement(StrEnum):
    """Where the values of a column may be at rest."""

    HOME = "home"
    """Sealed content: only in the home of its subject."""
    ENVELOPE = "envelope"
    """Integers and random ids: in every cell that needs the record."""
    HASHED = "hashed"
    """Keyed hashes, declared as such: they travel like envelopes, and who holds the key can test a guess."""
    REGION = "region"
    """The operator's own data: stays in its region."""
    DERIVED = "derived"
    """Made from the others, and can be made again."""


TYPES = ("int8", "int4", "int2", "bool", "uuid", "bytea", "int8[]")
"""Every type a column may have, in the order in which columns are laid out: widest first leaves no padding."""

TYPES_OF = {
    Placement.HOME: ("bytea",),  # what the vault sealed is bytes, so anything else was not sealed
    Placement.ENVELOPE: TYPES,
    Placement.HASHED: ("int8", "uuid", "bytea", "int8[]"),
    Placement.REGION: TYPES,
    Placement.DERIVED: TYPES,
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX ([a-z][a-z0-9_]{0,62}) ON ([a-z][a-z0-9_]{0,62})\b")


@dataclass(frozen=True)
class Column:
    """One column. `null`: it may be absent."""

    name: str
    type: str
    placement: Placement
    null: bool = False

    def sql(self) -> str:
        # Sealed bytes do not compress, so PostgreSQL must not try on each insert.
        storage = " STORAGE EXTERNAL" if self.placement is Placement.HOME else ""
        return f"{self.name} {self.type}{storage}{'' if self.null else ' NOT NULL'}"


@dataclass(frozen=True)
class Table:
    """One table: `Table("reports", key="event, reporter", home="reason bytea", envelope="event uuid, reporter int8")`.

    Each placement takes "name type" or "name type null", parted by commas. `key` is the primary key. `indexes` are
    whole CREATE INDEX statements. `fillfactor` below 100 leaves room on a page for updates in place.

    Raises: ValueError, naming table and column, when a declaration cannot be kept.
    """

    name: str
    key: str
    home: InitVar[str] = ""
    envelope: InitVar[str] = ""
    hashed: InitVar[str] = ""
    region: InitVar[str] = ""
    derived: InitVar[str] = ""
    indexes: tuple[str, ...] = ()
    fillfactor: int = 100
    columns: tuple[Column, ...] = field(init=False)

    def __post_init__(self, home: str, envelope: str, hashed: str, region: str, derived: str) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"table {self.name!r}: a name is small letters, digits and _")
        texts = dict(zip(Placement, (home, envelope, hashed, region, derived), strict=True))
        declared = [column for placement, text in texts.items() for column in self._parse(placement, text)]
        names = [column.name for column in declared]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"table {self.name}: column {name} is declared more than once")
        for name in self.key_columns:
            if name not in names:
                raise ValueError(f"table {self.name}: key column {name} has no placement")
            if next(column.null for column in declared if column.name == name):
                raise ValueError(f"table {self.name}: key column {name} cannot be null")
        for index in self.indexes:
            match = _INDEX.match(index)
            if match is None or match[2] != self.name:
                raise ValueError(f'table {self.name}: "{index}" is not "CREATE [UNIQUE] INDEX name ON {self.name} ..."')
        if not 10 <= self.fillfactor <= 100:
            raise ValueError(f"table {self.name}: fillfactor is {self.fillfactor}; it can be 10 to 100")
        declared.sort(key=lambda column: TYPES.index(column.type))
        object.__setattr__(self, "columns", tuple(declared))

    def _parse(self, placement: Placement, text: str) -> list[Column]:
        columns = []
        for part in text.split(",") if text.strip() else ():
            words = part.split()
            if len(words) not in (2, 3) or (len(words) == 3 and words[2] != "null"):
                raise ValueError(f'table {self.name}: {placement} column "{part.strip()}" is not "name type [null]"')
            name, type = words[:2]
            if not _NAME.fullmatch(name):
                raise ValueError(f"table {self.name}: column {name!r}: a name is small letters, digits and _")
            if type not in TYPES_OF[placement]:
                raise ValueError(
                    f"table {self.name}: column {name} is {type}; a {placement} column can be"
                    f" {', '.join(TYPES_OF[placement])}"
                )
            columns.append(Column(name, type, placement, null=len(words) == 3))
        return columns

    @property
    def key_columns(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.key.split(","))

    def placed(self, placement: Placement) -> tuple[Column, ...]:
        """The columns under `placement`."""
        return tuple(column for column in self.columns if column.placement is placement)

    def create_sql(self) -> str:
        """The statements that make the table and its indexes, each ending in a semicolon and a line break."""
        lines = [f"    {column.sql()}" for column in self.columns]
        lines.append(f"    PRIMARY KEY ({', '.join(self.key_columns)})")
        options = f" WITH (fillfactor = {self.fillfactor})" if self.fillfactor < 100 else ""
        statements = ["CREATE TABLE {} (\n{}\n){}".format(self.name, ",\n".join(lines), options)]
        # Statistics of sealed bytes help no plan, and would be one more copy of them.
        statements += [
            f"ALTER TABLE {self.name} ALTER COLUMN {column.name} SET STATISTICS 0"
            for column in self.placed(Placement.HOME)
        ]
        return "".join(f"{statement};\n" for statement in (*statements, *self.indexes))
