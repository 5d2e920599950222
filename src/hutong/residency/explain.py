"""What a finding means and what to do about it, by the topic that it has in docs/residency.md."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hutong.residency.report import DOCS


class Advice(NamedTuple):
    why: str
    next: tuple[str, ...]


ADVICE: Mapping[str, Advice] = {
    "keystore": Advice(
        "The keystore holds sealed pages of keys and nothing else. A word in it was put there by another program.",
        ("Find out which program writes there.", "Move the file away, and audit again."),
    ),
    "database": Advice(
        "hutong gives PostgreSQL sealed bytes, integers, random ids and keyed hashes. A word in its files came from a "
        "statement that was not hutong's, or from a defect in hutong.",
        (
            "The finding names the table or index: look who made it. If hutong did, report it as a defect.",
            "Drop it. Its files go at the next checkpoint, what the planner kept of it with it.",
        ),
    ),
    "wal": Advice(
        "The write-ahead log repeats what is written to the tables, and keeps it after the table is dropped. Replicas "
        "and backups are made of it.",
        (
            "Remove the cause first: the same string is usually in a table, see the other findings.",
            "Segments are written over in time. Sooner: CHECKPOINT; SELECT pg_switch_wal(); then load until they are.",
            "Archives and replicas that were made meanwhile have it too.",
        ),
    ),
    "logs": Advice(
        "Logs are copied, shipped and kept by people who are not to read messages. hutong writes no name, address or "
        "word of a person into them; PostgreSQL is set to log no statement and no parameter.",
        (
            "Look at the line, and at which program wrote it.",
            "If it was PostgreSQL: `hutong doctor` compares its log settings.",
            "Delete the log or the line, at its copies too, and audit again.",
        ),
    ),
    "temporary-files": Advice(
        "PostgreSQL sorts large results in files, and programs leave drafts. They hold what the rows held.",
        ("Find out which query or program made it.", "It goes with its session; delete what a crash has left."),
    ),
    "other-files": Advice(
        "Everything under the folder of a region is at rest there. This file is none that hutong makes.",
        ("Look who made it: an export, a dump, an editor's copy.", "Delete it, or move it to the home of its subject."),
    ),
    "root-keys": Advice(
        "With a region's root key everything of that region can be opened. It is to be in its own root.key alone.",
        (
            "Remove the copy.",
            "If it ever left the region, count everything of the region as disclosed.",
        ),
    ),
    "sealed-copies": Advice(
        "A sealed record outside its home cannot be read there, but it is no longer under the laws of its home alone.",
        (
            "Find out what copied it: a dump, a replica, a restore into the wrong region.",
            "Remove it, and audit again.",
        ),
    ),
    "undeclared": Advice(
        "Everything that hutong stores is declared, column by column, with its place. Nobody has thought about this.",
        (
            "Look who made it, and drop it, or move it into another cluster.",
            "After an upgrade: `hutong doctor` says whether a migration is missing.",
        ),
    ),
    "values": Advice(
        "A column that travels between regions may hold integers, random ids and declared keyed hashes. Other values "
        "could be somebody's words.",
        ("Report it: that is a defect in hutong, unless somebody wrote to the database by hand.",),
    ),
    "planner-statistics": Advice(
        "PostgreSQL keeps the most frequent values of a column as statistics, also when the rows are gone.",
        ("ALTER TABLE ... ALTER COLUMN ... SET STATISTICS 0; ANALYZE the table; audit again.",),
    ),
}


def explain(report: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Finding `number` of a report's JSON, with why it matters and what to do.

    Raises: LookupError, whose message says what there is.
    """
    findings = report["findings"]
    if not 1 <= number <= len(findings):
        there = f"findings 1 to {len(findings)}" if findings else "no findings"
        raise LookupError(f"the last audit has {there}")
    finding = findings[number - 1]
    advice = ADVICE[finding["topic"]]
    more = f"{DOCS}#{finding['topic']}"
    return {**finding, "number": number, "why": advice.why, "next": list(advice.next), "docs": more}


def lines(explained: Mapping[str, Any]) -> list[str]:
    """The same for reading."""
    said = [f"{explained['number']}. {explained['where']}", f"   {explained['what']}", "", "Why it matters"]
    said += [f"   {explained['why']}", "", "What to do"]
    said += [f"   {place}. {step}" for place, step in enumerate(explained["next"], 1)]
    return [*said, "", f"More: {explained['docs']}"]
