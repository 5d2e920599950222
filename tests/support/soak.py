"""Writes what the last `make soak` found into tests/SOAK.md, which is committed beside the code that it ran on."""

import platform
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "tests" / "SOAK.md"
TWO_CELLS = "cn is two cells"
HEAD = """\
# The last soak

Written by `make soak`: the long counts of the tests that `make test` runs a seeded few of. Each row is of the last run
of its test; "dirty" is a tree with changes that were not committed.

| test | result | seconds | date | commit | machine |
|---|---|---|---|---|---|
"""


def write(reports: dict[str, list[pytest.TestReport]]) -> None:
    """One row for each test, by what became of it this time, or the last time that it ran.

    What runs once more with two cells is one row for each file, with the number of its tests.
    """
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for outcome in ("passed", "failed", "error"):
        for report in reports.get(outcome, ()):
            if report.when == "call" or outcome == "error":
                found[_name(report)].append((outcome, report.duration))
    now = f"{_date()} | {_commit()} | {_machine()}"
    rows = {
        name: f"| {name} | {_outcome(told)} | {sum(seconds for _, seconds in told):.0f} | {now} |"
        for name, told in found.items()
    }
    if rows:
        REPORT.write_text(HEAD + "\n".join(sorted((_earlier() | rows).values())) + "\n")


def _outcome(told: list[tuple[str, float]]) -> str:
    counts = Counter(outcome for outcome, _ in told)
    if len(told) == 1:
        return told[0][0]
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def _name(report: pytest.TestReport) -> str:
    """The test within its folder: the same name stands in several files."""
    file, _, test = report.nodeid.removeprefix("tests/").partition(".py::")
    if f"[{TWO_CELLS}" in test:
        return f"{file}: everything, with cn as two cells"
    return f"{file}: {test}".replace("|", "/")


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
