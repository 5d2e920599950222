"""The shape of the package, where a rule of DESIGN and STYLE can be read from the files themselves."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from hutong.cells import tables
from hutong.engines.tables import TYPES_OF, Placement
from hutong.schema import TABLES

SOURCE = Path(__file__).parents[2] / "src" / "hutong"
FILES = sorted(SOURCE.rglob("*.py"))
LINES_MAX = 450
"""About 400; a file that passes this is split by subject."""
VAGUE_NAMES = {"utils", "util", "helpers", "misc", "manager", "managers", "base", "common_utils"}


def _name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def test_no_module_imports_one_that_imports_it() -> None:
    graph = grimp.build_graph("hutong", exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # What is left when modules without imports are taken away, again and again, imports itself in the end.
    while free := {module for module, others in imports.items() if not others & imports.keys()}:
        for module in free:
            del imports[module]
    circle = {module: sorted(others & imports.keys()) for module, others in imports.items()}
    assert not circle, f"these import each other; move what both need to a third: {circle}"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_a_file_has_one_subject(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= LINES_MAX, f"{_name(file)} has {lines} lines: split it by subject, not by kind"
    assert file.stem not in VAGUE_NAMES, f"{_name(file)}: a file is named after its subject"


POSITIONED = {table.name for table in tables.ALL} - {"rev"}
SQL = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+([a-z_]+)\b")


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file with their lines, docstrings left out."""
    tree = ast.parse(file.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_sql_on_a_positioned_table_stays_in_cells() -> None:
    # The command line counts rooms and asks where a restored log ends; the audit reads everything.
    others = {"cells", "commands", "residency", "engines"}
    found = [
        f"{_name(file)}:{line}: {match[1]}"
        for file in FILES
        if file.relative_to(SOURCE).parts[0] not in others
        for line, text in _texts(file)
        for match in SQL.finditer(text)
        if match[1] in POSITIONED
    ]
    assert not found, f"only cells/ has SQL on these, so that one statement can write a whole batch: {found}"


def test_every_home_column_is_sealed_bytes() -> None:
    for table in TABLES:
        for column in table.columns:
            assert column.type in TYPES_OF[column.placement], f"{table.name}.{column.name}"
        for column in table.placed(Placement.HOME):
            assert column.type == "bytea", f"{table.name}.{column.name}"
