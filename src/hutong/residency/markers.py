"""Markers: the strings an audit searches for, and every form in which they are searched. No I/O.

A marker is a string that a sealed record opens to. Its control is a piece of that sealed record: met in the scanned
files at home, it shows that the scan reads what it should, and the record shows that the string is really somebody's.
"""

import base64
import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

MARKER_BYTES_MIN = 16
"""A shorter string would be met by chance, so it is counted and not searched. Full user ids are always searched."""
UTF16_BYTES_MIN = 8
PIECE_BYTES = 16
"""How much of a sealed record is looked for: its nonce and the first bytes of its ciphertext, like no others."""
PART_BYTES = MARKER_BYTES_MIN
"""Content is cut into pieces of this size."""


class Kind(StrEnum):
    """What a marker is."""

    USER_ID = "user id"
    NAME = "name"
    CONTENT = "part of content"
    GIVEN = "string given by the operator"
    ROOT_KEY = "root key"
    SEALED = "sealed record"


@dataclass(frozen=True)
class Control:
    """A sealed record that opens to the marker at home: where it is, and the piece of it to be met in the files."""

    piece: bytes
    table: str
    column: str
    id: bytes


@dataclass(frozen=True)
class Marker:
    """A string searched for. `home`: the region of the person it belongs to, "" when nobody's. `rank`: when there are
    too many, those of low rank are searched."""

    kind: Kind
    home: str
    text: bytes
    controls: tuple[Control, ...] = ()
    rank: int = 0

    @property
    def searchable(self) -> bool:
        return self.kind is Kind.USER_ID or len(self.text) >= MARKER_BYTES_MIN


@dataclass(frozen=True)
class Needle:
    """What one searched byte string stands for: marker number `marker` in `form`."""

    marker: int
    form: str


def parts(text: str) -> list[bytes]:
    """The pieces of `text` that are searched: all of it, cut, so that an excerpt of twice the size is found too.

    The most telling first: its beginning, its end, then those that halve what lies between.
    """
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) <= PART_BYTES:
        return [whole]
    starts = [*range(0, len(whole) - PART_BYTES, PART_BYTES), len(whole) - PART_BYTES]
    order = sorted(range(len(starts)), key=lambda place: (place != 0, place != len(starts) - 1, _coarseness(place)))
    return [whole[starts[place] : starts[place] + PART_BYTES] for place in order]


def _coarseness(place: int) -> int:
    """Less for a place that a coarser ruler has a mark at."""
    return -(place & -place)


def choose(markers: Sequence[Marker], most: int) -> list[Marker]:
    """`most` of the searchable `markers`: those given, user ids, names, then parts of content by their rank."""
    kinds = [Kind.GIVEN, Kind.USER_ID, Kind.NAME, Kind.CONTENT]
    searchable = [marker for marker in markers if marker.searchable]
    return sorted(searchable, key=lambda marker: (kinds.index(marker.kind), marker.rank))[:most]


def provable(markers: Iterable[Marker], most: int) -> tuple[list[Marker], set[tuple[str, bytes]]]:
    """Those of `markers` of which a record is among `most` pieces (home, piece) to be looked for, and these pieces.

    A record proves all the markers that it opens to, so one that was taken already is taken rather than another one.
    """
    kept: list[Marker] = []
    pieces: set[tuple[str, bytes]] = set()
    for marker in markers:
        own = [(marker.home, control.piece) for control in marker.controls]
        if pieces.isdisjoint(own):
            if own and len(pieces) >= most:
                continue
            pieces.update(own[:1])
        kept.append(marker)
    return kept, pieces


def needles(markers: Iterable[Marker]) -> dict[bytes, list[Needle]]:
    """Every byte string to search for, with what it stands for.

    Escapes (percent, JSON, quoted-printable), compression and nesting are undone by the scanner, so they have no form.
    """
    found: dict[bytes, list[Needle]] = {}
    for number, marker in enumerate(markers):
        if not marker.searchable:
            continue
        for needle, form in _forms(marker):
            stands_for = found.setdefault(needle, [])
            if all(other.marker != number for other in stands_for):
                stands_for.append(Needle(number, form))
    return found


def _forms(marker: Marker) -> Iterator[tuple[bytes, str]]:
    if marker.kind is Kind.CONTENT:
        # Of content there is most. The scanner undoes its encodings too, which for names and keys is the second way.
        yield marker.text, "in clear"
        if not marker.text.isascii():
            yield from _utf16(marker.text)
        return
    yield from _encodings(marker.text)
    if marker.kind not in (Kind.USER_ID, Kind.NAME, Kind.GIVEN):
        return
    text = marker.text.decode("utf-8", "replace")
    folded = {text.lower(), text.upper(), text.casefold(), unicodedata.normalize("NFKC", text).casefold()}
    folded |= {unicodedata.normalize("NFD", text), unicodedata.normalize("NFC", text)}
    for other in sorted(folded - {text}):
        yield other.encode(), "case-folded or normalised"
    for name in ("md5", "sha1", "sha256"):  # unsalted, so whoever guesses the name can check the guess
        digest = hashlib.new(name, marker.text, usedforsecurity=False)
        yield digest.hexdigest().encode(), f"{name} of it, hex"
    # Bytes that begin in every way make the search slow, so only the likeliest hash is searched as bytes.
    yield hashlib.sha256(marker.text).digest(), "sha256 of it"


def _encodings(text: bytes) -> Iterator[tuple[bytes, str]]:
    yield text, "in clear"
    yield text.hex().encode(), "hex"
    yield text.hex().upper().encode(), "hex"
    for encoded in base64_phases(text):
        yield encoded, "base64"
        urlsafe = encoded.translate(_URLSAFE)
        if urlsafe != encoded:
            yield urlsafe, "base64"
    yield from _utf16(text)


def _utf16(text: bytes) -> Iterator[tuple[bytes, str]]:
    """Of what is no whole text, because it was cut within a letter, the letters that are whole."""
    words = text.decode(errors="ignore")
    if len(words) * 2 >= UTF16_BYTES_MIN:
        yield words.encode("utf-16-le"), "UTF-16"
        yield words.encode("utf-16-be"), "UTF-16"


_URLSAFE = bytes.maketrans(b"+/", b"-_")


def base64_phases(text: bytes) -> Iterator[bytes]:
    """The characters that `text` certainly becomes within base64, for each of the three places it may begin at."""
    for phase, skip in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(phase) + text)
        yield encoded[skip : (phase + len(text)) * 8 // 6]
