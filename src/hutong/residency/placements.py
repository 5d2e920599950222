"""The table of placements in docs/residency.md, made from the declarations: `python -m hutong.residency.placements`."""

import sys
from pathlib import Path

from hutong.engines.tables import Placement, Table
from hutong.schema import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "residency.md"
BEGIN = "<!-- placements: made by `python -m hutong.residency.placements` -->"
END = "<!-- /placements -->"


def table_of_placements(tables: tuple[Table, ...]) -> str:
    """One row for each table: its columns under the places that they are declared under."""
    lines = [
        "| table | " + " | ".join(placement.value for placement in Placement) + " |",
        "|---|" + "---|" * len(Placement),
    ]
    for table in sorted(tables, key=lambda table: table.name):
        cells = [", ".join(f"`{column.name}`" for column in table.placed(placement)) for placement in Placement]
        lines.append(f"| `{table.name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def renewed(page: str) -> str:
    """`page` with the table that belongs there. Raises: ValueError when it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no {BEGIN} ... {END}")
    return f"{before}{begin}\n\n{table_of_placements(TABLES)}\n\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Write the page anew, or with `--check` only say whether it is stale."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = renewed(page)
    if arguments == ["--check"]:
        if fresh != page:
            print("docs/residency.md is stale: python -m hutong.residency.placements writes it anew", file=sys.stderr)
        return int(fresh != page)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
