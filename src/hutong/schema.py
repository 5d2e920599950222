"""Every table of the product. Whoever declares a table appends it here, and runs `make schema`."""

from pathlib import Path

from hutong.accounts import store as accounts
from hutong.cells import tables as cells
from hutong.directory import store as directory
from hutong.engines import migrations
from hutong.engines.tables import Table
from hutong.keys import store as keys

TABLES: tuple[Table, ...] = (*cells.ALL, *accounts.ALL, *directory.ALL, *keys.ALL)

BASELINE = Path(migrations.__file__).with_name("migrations") / "0001_baseline.sql"


def baseline() -> str:
    """The first migration: all tables as they are declared. It is frozen with the first release."""
    head = "-- Made by `make schema` from the declarations in src/hutong/schema.py.\n"
    return "\n".join([head, *(table.create_sql() for table in TABLES)])


if __name__ == "__main__":
    BASELINE.write_text(baseline())
