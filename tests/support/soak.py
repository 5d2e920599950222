"""Writes what the last `make soak` found into tests/SOAK.md, which is committed beside the code that it ran on."""

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "tests" / "SOAK.md"
HEAD = """\
# The last soak

Written by `make soak`: the long counts of the tests that `make test` runs a seeded few of. Each row is of the last run
of its test; "dirty" is a tree with changes that were not committed.

| test | result | seconds | date | commit | machine |
|---|---|---|---|---|---|
"""


def write(reports: dict[str, list[pytest.TestReport]]) -> None:
    """One row for each test, by what became of it this time, or the last time that it ran."""
    now = f"{_date()} | {_commit()} | {_machine()}"
    rows = {
        _name(report): f"| {_name(report)} | {outcome} | {report.duration:.0f} | {now} |"
        for outcome in ("passed", "failed", "error")
        for report in reports.get(outcome, ())
        if report.when == "call" or outcome == "error"
    }
    if rows:
        REPORT.write_text(HEAD + "\n".join(sorted((_earlier() | rows).values())) + "\n")


def _name(report: pytest.TestReport) -> str:
    """The test within its folder: the same name stands in several files."""
    return report.nodeid.removeprefix("tests/").replace(".py::", ": ").replace("|", "/")


def _earlier() -> dict[str, str]:
    """The rows that are there already, by test."""
    lines = REPORT.read_text().splitlines() if REPORT.exists() else []
    rows = [line for line in lines if line.startswith("| ") and line.count("|") == 7 and not line.startswith("| test ")]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}


def _date() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}"
