"""What an audit found, as records, as JSON and for reading. It never repeats a word that it found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from hutong.residency.files import Place
from hutong.residency.markers import Kind
from hutong.residency.scanner import FILE_NAME

CLEAN, FINDINGS, COULD_NOT_LOOK = 0, 1, 2
DOCS = "docs/residency.md"
_SHOWN_MAX = 40


@dataclass(frozen=True)
class Finding:
    """Something where it must not be. `topic`: the heading of docs/residency.md that says why it matters."""

    region: str
    place: str
    where: str
    what: str
    topic: str


@dataclass
class Count:
    """Markers of one region: how many a sealed record at home opened to, and of how many such a record was met."""

    markers: int = 0
    met: int = 0
    records: int = 0


@dataclass
class Report:
    """One audit. `problems`: why it is no proof. `notes`: what to know about it."""

    data: str
    seconds: float = 0.0
    read: Counter[tuple[str, Place]] = field(default_factory=Counter)
    files: int = 0
    decoded: Counter[str] = field(default_factory=Counter)
    controls: dict[str, Count] = field(default_factory=dict)
    columns: int = 0
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0 clean, 1 findings, 2 could not look."""
        return FINDINGS if self.findings else COULD_NOT_LOOK if self.problems else CLEAN

    def to_json(self) -> dict[str, Any]:
        places = [
            {"region": region, "place": place.value, "bytes": count}
            for (region, place), count in sorted(self.read.items())
        ]
        return {
            "status": self.status,
            "data": self.data,
            "seconds": round(self.seconds, 2),
            "files": self.files,
            "bytes": self.read.total(),
            "places": places,
            "decoded_bytes": dict(sorted(self.decoded.items())),
            "controls": {region: asdict(count) for region, count in self.controls.items()},
            "columns_checked": self.columns,
            "findings": [
                {"number": number, **asdict(finding), "docs": f"{DOCS}#{finding.topic}"}
                for number, finding in enumerate(self.findings, 1)
            ],
            "problems": self.problems,
            "notes": self.notes,
        }


def size(count: float) -> str:
    """`3.4 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB"


def show(report: Report, console: Console) -> None:
    """The report for a person to read."""
    console.print(
        f"Read every byte at rest: {size(report.read.total())} in {report.files:,} files, {report.seconds:.0f} s. "
        f"Also decoded {size(report.decoded.total())} of what was compressed or encoded in them."
    )
    console.print(_table(report))
    for note in report.notes:
        console.print(f"  {note}", style="dim")
    if report.columns:
        wrong = sum(finding.topic in ("undeclared", "values", "planner-statistics") for finding in report.findings)
        console.print(f"  Structure: {report.columns} columns checked against their declarations; {wrong} findings")
    for problem in report.problems:
        console.print(f"! {problem}", style="yellow")
    if report.findings:
        count = len(report.findings)
        console.print(f"✗ {count} finding{'s' if count > 1 else ''}", style="bold red")
        for number, finding in enumerate(report.findings[:_SHOWN_MAX], 1):
            console.print(f"{number:4} {finding.where}: {finding.what}", style="red")
        if count > _SHOWN_MAX:
            console.print(f"     and {count - _SHOWN_MAX} more: --json lists them all")
        console.print(f"  Why it matters: {DOCS}#{report.findings[0].topic}     Next: hutong audit explain 1")
    elif report.problems:
        console.print("! This is no proof: it could not look everywhere, as said above.", style="bold yellow")
    else:
        opened = sum(count.met for count in report.controls.values())
        console.print(
            f"✓ Clean: none of {opened:,} strings that people's sealed records open to is in clear anywhere.",
            style="bold green",
        )


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=True, header_style="bold")
    for name in ("region", "place", "read", "opened by the vault at home", "in clear"):
        table.add_column(name, justify="right" if name in ("read", "in clear") else "left")
    clear = Counter((finding.region, finding.place) for finding in report.findings)
    keys = {(region, place.value) for region, place in report.read} | set(clear)
    order = [place.value for place in Place]
    for region, place in sorted(keys, key=lambda key: (key[0] == "", key[0], order.index(key[1]))):
        read = report.read[region, Place(place)]
        found = clear[region, place]
        if not read and not found:
            continue
        count = report.controls.get(region) if place == Place.DATABASE else None
        opened = f"{count.met:,} of {count.markers:,} markers" if count else "-"
        table.add_row(
            region or "(beside)",
            place,
            size(read),
            opened,
            f"{found} ✗" if found else "0",
            style="red" if found else "",
        )
    return table


def phrase(kind: Kind, form: str, path: Sequence[str], home: str, counts: Mapping[Kind, int]) -> str:
    """`a name, in clear, within gzip, of a person whose home is cn`. `counts`: of every kind that was met there."""
    hidden = "".join(f", within {step}" for step in reversed(path) if step != FILE_NAME)
    if kind is Kind.SEALED:
        form = "a copy, still sealed"
    whose = ""
    if kind is Kind.ROOT_KEY:
        whose = f", of {home}"
    elif kind is not Kind.GIVEN:
        whose = f", of {'a person' if counts[kind] == 1 else 'people'} whose home is {home}"
    others = ", ".join(_counted(other, count) for other, count in counts.items() if other is not kind)
    return f"{_counted(kind, counts[kind])}, {form}{hidden}{whose}{f' (also {others})' if others else ''}"


def _counted(kind: Kind, count: int) -> str:
    one, many = _WORDS[kind]
    return one if count == 1 else f"{count:,} {many}"


_WORDS = {
    Kind.USER_ID: ("a user id", "user ids"),
    Kind.NAME: ("a name", "names"),
    Kind.CONTENT: ("a part of content", "parts of content"),
    Kind.GIVEN: ("a string given by the operator", "strings given by the operator"),
    Kind.ROOT_KEY: ("a root key", "root keys"),
    Kind.SEALED: ("a sealed record", "sealed records"),
}
