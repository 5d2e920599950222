"""From what was met in the files to findings: whose string, hidden how, where. Reads log files again to name a line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hutong.residency.files import File, Place
from hutong.residency.markers import Kind, Marker, Needle
from hutong.residency.pages import PAGE_BYTES
from hutong.residency.report import Finding, phrase
from hutong.residency.scanner import FILE_NAME, Scanned
from hutong.residency.stream import Hit

_TOPICS = {
    Place.KEYSTORE: "keystore",
    Place.DATABASE: "database",
    Place.WAL: "wal",
    Place.STATISTICS: "database",
    Place.LOGS: "logs",
    Place.TEMPORARY: "temporary-files",
    Place.OTHER: "other-files",
}
_LINES_BYTES_MAX = 64 << 20
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r\x1b")


_WORDS = (Kind.GIVEN, Kind.USER_ID, Kind.NAME, Kind.CONTENT)
"""Kinds that one leak has several of: a user id holds a name, and a state key is content. The most telling is first."""


@dataclass
class _Leak:
    """What is in one file of one home: markers by kind, and where the most telling, least hidden of them is."""

    kind: Kind
    path: tuple[str, ...]
    offset: int
    form: str
    markers: dict[Kind, set[int]] = field(default_factory=dict)

    def rank(self) -> tuple[int, int, int]:
        telling = _WORDS.index(self.kind) if self.kind in _WORDS else 0
        return telling, len(self.path), self.offset


@dataclass
class Met:
    """What the scan met: strings in clear, and which sealed records at home."""

    pieces: set[bytes] = field(default_factory=set)
    leaks: dict[tuple[File, Kind | None, str], _Leak] = field(default_factory=dict)
    named: set[File] = field(default_factory=set)
    """Files whose name is not to be repeated."""

    def add(self, scanned: Scanned, needles: Sequence[Sequence[Needle]], markers: Sequence[Marker]) -> None:
        for hit in scanned.hits:
            for needle in needles[hit.needle]:
                self._add(scanned.file, hit, needle, markers[needle.marker])

    def _add(self, file: File, hit: Hit, needle: Needle, marker: Marker) -> None:
        if marker.kind is Kind.SEALED and marker.home == file.region:
            self.pieces.add(marker.text)
            return
        if marker.kind is Kind.ROOT_KEY and file.shown == f"{marker.home}/root.key":
            return
        if hit.path[:1] == (FILE_NAME,):
            self.named.add(file)
        key = (file, None if marker.kind in _WORDS else marker.kind, marker.home)
        fresh = _Leak(marker.kind, hit.path, hit.offset, needle.form)
        known = self.leaks.get(key)
        if known is not None:
            fresh.markers = known.markers
        if known is None or fresh.rank() < known.rank():
            self.leaks[key] = fresh
        fresh.markers.setdefault(marker.kind, set()).add(needle.marker)

    def findings(self, relations: Mapping[str, Mapping[str, str]]) -> list[Finding]:
        """`relations`: the names of tables and indexes, by region and by path within its cluster."""
        found = []
        for (file, _, home), leak in self.leaks.items():
            topic = {Kind.ROOT_KEY: "root-keys", Kind.SEALED: "sealed-copies"}.get(leak.kind, _TOPICS[file.place])
            counts = {kind: len(leak.markers[kind]) for kind in Kind if kind in leak.markers}
            what = phrase(leak.kind, leak.form, leak.path, home, counts)
            where = self._where(file, leak, relations.get(file.region, {}))
            found.append(Finding(file.region, file.place, where, what, topic))
        return found

    def _where(self, file: File, leak: _Leak, relations: Mapping[str, str]) -> str:
        if file in self.named:
            return f"{file.shown.rpartition('/')[0] or '.'}, a file whose name says it"
        relation = next((name for end, name in relations.items() if _is_relation(file.shown, end)), None)
        if relation is not None:
            return f"{file.shown}, page {leak.offset // PAGE_BYTES} of {relation}"
        if file.place is Place.WAL:
            return file.shown
        line = _line(file, leak.offset)
        return f"{file.shown}, line {line}" if line else f"{file.shown}, byte {leak.offset}"


def _is_relation(shown: str, end: str) -> bool:
    name = shown.rpartition("/")[2]
    return f"/{shown}".endswith(f"/{end}") or ("." in name and f"/{shown.rpartition('.')[0]}".endswith(f"/{end}"))


def _line(file: File, offset: int) -> int | None:
    """The number of the line at `offset`, None when this is no text."""
    if offset > _LINES_BYTES_MAX:
        return None
    try:
        with file.path.open("rb") as opened:
            before = opened.read(offset)
            around = before[-256:] + opened.read(256)
    except OSError:
        return None
    if around.translate(None, _CONTROLS) != around:
        return None
    return before.count(b"\n") + 1


def missing(markers: Iterable[Marker], pieces: set[bytes]) -> list[Marker]:
    """The markers of which no sealed record was met."""
    return [
        marker for marker in markers if marker.controls and not any(each.piece in pieces for each in marker.controls)
    ]


def count_unsearchable(markers: Iterable[Marker]) -> Counter[str]:
    return Counter(marker.kind.value for marker in markers if not marker.searchable)
