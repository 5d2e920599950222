"""From what was met in the files to findings: whose string, hidden how, where. Reads log files again to name a line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hutong.residency.files import File, Place
from hutong.residency.markers import Kind, Marker, Needle
from hutong.residency.pages import PAGE_BYTES
from hutong.residency.report import Finding, phrase
from hutong.residency.scanner import Scanned

_TOPICS = {
    Place.KEYSTORE: "keystore",
    Place.DATABASE: "database",
    Place.WAL: "wal",
    Place.STATISTICS: "database",
    Place.LOGS: "logs",
    Place.TEMPORARY: "temporary-files",
    Place.OTHER: "other-files",
}


@dataclass
class Met:
    """What the scan met: findings, and which sealed records at home."""

    pieces: set[bytes] = field(default_factory=set)
    clear: dict[tuple[File, Kind, str, str, tuple[str, ...]], dict[int, int]] = field(default_factory=dict)
    """By file, kind, home, form and path: the markers, and where each was met first."""

    def add(self, scanned: Scanned, needles: Sequence[Sequence[Needle]], markers: Sequence[Marker]) -> None:
        file = scanned.file
        for hit in scanned.hits:
            for needle in needles[hit.needle]:
                marker = markers[needle.marker]
                if marker.kind is Kind.SEALED and marker.home == file.region:
                    self.pieces.add(marker.text)
                    continue
                if marker.kind is Kind.ROOT_KEY and file.shown == f"{marker.home}/root.key":
                    continue
                key = (file, marker.kind, marker.home, needle.form, hit.path)
                self.clear.setdefault(key, {}).setdefault(needle.marker, hit.offset)

    def findings(self, relations: Mapping[str, Mapping[str, str]]) -> list[Finding]:
        """`relations`: the names of tables and indexes, by region and by path within its cluster."""
        found = []
        named = {file for file, *_, path in self.clear if path[:1] == ("file name",)}
        for (file, kind, home, form, path), offsets in sorted(self.clear.items(), key=lambda item: item[0][0].shown):
            topic = {Kind.ROOT_KEY: "root-keys", Kind.SEALED: "sealed-copies"}.get(kind, _TOPICS[file.place])
            where = _where(file, min(offsets.values()), path, relations.get(file.region, {}))
            if file in named:
                where = f"{file.shown.rpartition('/')[0] or '.'}, a file whose name says it too"
            how = "a copy, still sealed" if kind is Kind.SEALED else form
            whose = home if kind is not Kind.GIVEN else ""
            found.append(Finding(file.region, file.place, where, phrase(kind, how, path, whose, len(offsets)), topic))
        return found


def _where(file: File, offset: int, path: tuple[str, ...], relations: Mapping[str, str]) -> str:
    relation = next((name for end, name in relations.items() if _is_relation(file.shown, end)), None)
    if relation is not None:
        return f"{file.shown}, page {offset // PAGE_BYTES} of {relation}"
    if file.place is Place.WAL:
        return file.shown
    line = _line(file, offset)
    return f"{file.shown}, line {line}" if line else f"{file.shown}, byte {offset}"


def _is_relation(shown: str, end: str) -> bool:
    name = shown.rpartition("/")[2]
    return f"/{shown}".endswith(f"/{end}") or ("." in name and f"/{shown.rpartition('.')[0]}".endswith(f"/{end}"))


def _line(file: File, offset: int) -> int | None:
    """The number of the line at `offset`, None when this is no text."""
    if file.place is Place.DATABASE and not file.path.suffix:
        return None
    try:
        with file.path.open("rb") as opened:
            before = opened.read(offset) if offset < 64 << 20 else b"\0"
    except OSError:
        return None
    return None if b"\0" in before else before.count(b"\n") + 1


def missing(markers: Iterable[Marker], pieces: set[bytes]) -> list[Marker]:
    """The markers of which no sealed record was met."""
    return [
        marker for marker in markers if marker.controls and not any(each.piece in pieces for each in marker.controls)
    ]


def count_unsearchable(markers: Iterable[Marker]) -> Counter[str]:
    return Counter(marker.kind.value for marker in markers if not marker.searchable)
