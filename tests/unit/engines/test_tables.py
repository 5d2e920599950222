"""A column without placement cannot be written, and a declaration says what is wrong with it."""

import re

import pytest

from hutong.engines.tables import Column, Placement, Table

REPORTS = Table(
    "reports",
    key="event, reporter",
    home="reason bytea",
    envelope="event uuid, reporter int8, room int8, id uuid, minute int4, seen int8 null",
    hashed="kind int8",
    indexes=("CREATE INDEX reports_room ON reports (room)",),
    fillfactor=70,
)


def test_every_column_bears_its_placement() -> None:
    assert [column.name for column in REPORTS.placed(Placement.HOME)] == ["reason"]
    assert {column.name: column.placement for column in REPORTS.columns} == {
        "reporter": Placement.ENVELOPE,
        "room": Placement.ENVELOPE,
        "seen": Placement.ENVELOPE,
        "kind": Placement.HASHED,
        "minute": Placement.ENVELOPE,
        "event": Placement.ENVELOPE,
        "id": Placement.ENVELOPE,
        "reason": Placement.HOME,
    }
    assert Column("seen", "int8", Placement.ENVELOPE, null=True) in REPORTS.columns


def test_sealed_bytes_are_neither_compressed_nor_in_planner_statistics() -> None:
    sql = REPORTS.create_sql()
    assert "reason bytea STORAGE EXTERNAL NOT NULL" in sql
    assert "ALTER COLUMN reason SET STATISTICS 0" in sql


def test_statements_say_what_was_declared() -> None:
    sql = REPORTS.create_sql()
    assert "seen int8,\n" in sql
    assert "PRIMARY KEY (event, reporter)" in sql
    assert ") WITH (fillfactor = 70);" in sql
    assert sql.endswith("CREATE INDEX reports_room ON reports (room);\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "a"}, "table t: key column a has no placement"),
        ({"key": "a", "envelope": "a int8 null"}, "table t: key column a cannot be null"),
        ({"key": "a", "envelope": "a int8, a int8"}, "table t: column a is declared more than once"),
        ({"key": "a", "envelope": "a int8", "home": "b text"}, "column b is text; a home column can be bytea"),
        ({"key": "a", "envelope": "a int8", "home": "b int8"}, "column b is int8; a home column can be bytea"),
        ({"key": "a", "envelope": "a text"}, "column a is text; a envelope column can be int8, int4"),
        ({"key": "a", "envelope": "a"}, 'envelope column "a" is not "name type [null]"'),
        ({"key": "a", "envelope": "a int8 maybe"}, 'envelope column "a int8 maybe" is not "name type [null]"'),
        ({"key": "A", "envelope": "A int8"}, "column 'A': a name is small letters, digits and _"),
        ({"key": "a", "envelope": "a int8", "indexes": ("CREATE INDEX i ON u (a)",)}, 'is not "CREATE [UNIQUE] INDEX'),
        ({"key": "a", "envelope": "a int8", "fillfactor": 7}, "fillfactor is 7; it can be 10 to 100"),
    ],
)
def test_a_declaration_that_cannot_be_kept_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Table("t", **arguments)  # type: ignore[arg-type]
