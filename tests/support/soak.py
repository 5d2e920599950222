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

Written by `make soak`: the long counts of the tests that `make test` runs a seeded few of. {date}, commit {commit},
{machine}.

| test | result | seconds |
|---|---|---|
"""


def write(reports: dict[str, list[pytest.TestReport]]) -> None:
    """One row for each test that ran, by what became of it."""
    rows = [
        f"| {report.nodeid.partition('::')[2]} | {outcome} | {report.duration:.0f} |"
        for outcome in ("passed", "failed", "error")
        for report in reports.get(outcome, ())
        if report.when == "call" or outcome == "error"
    ]
    if rows:
        REPORT.write_text(
            HEAD.format(date=_date(), commit=_commit(), machine=_machine()) + "\n".join(sorted(rows)) + "\n"
        )


def _date() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}"
