"""PostgreSQL's own ways of compressing and splitting values, undone from the bytes of its files. No I/O.

Source: PostgreSQL 18, "Database Page Layout" and "TOAST" in the manual; the same layouts hold from version 14 on.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import lz4.block

PAGE_BYTES = 8_192
CHUNK_BYTES = 1_996
"""A value that is moved out of its row is cut into pieces of this size."""
_LAYOUT_VERSION = 4
_EXPANSION_MAX = 300
"""No value of PostgreSQL's compressions becomes larger than this many times its size."""
_COMPRESSED_BYTES_MIN = 6
_UINT32 = struct.Struct("<I")
_TWO_UINT32 = struct.Struct("<II")
_PAGE_HEAD = struct.Struct("<12xHHHH")
_PAGE_HEAD_BYTES = 24
_NORMAL = 1

# A compressed value within a row: its length, marked by the low bits 10, then the length it had and the method.
COMPRESSED_VALUE = re.compile(
    b"[" + b"".join(re.escape(bytes((low,))) for low in range(2, 256, 4)) + b"][\0-\x7f]\0\0[\\s\\S]{3}[\0\x40]"
)
COMPRESSED_VALUE_BYTES_MAX = 8_192


def compressed_values(data: bytes, seen: int) -> Iterator[tuple[int, bytes]]:
    """Where what looks like a compressed value begins, and its bytes, for each that ends after `seen` bytes.

    Most are none: `expand` tells.
    """
    match = COMPRESSED_VALUE.search(data)
    while match is not None:
        start = match.start()
        length, info = _TWO_UINT32.unpack_from(data, start)
        end = start + (length >> 2)
        if seen < end <= len(data) and _plausible((length >> 2) - 8, info & 0x3FFFFFFF):
            yield start, data[start + 4 : end]
        match = COMPRESSED_VALUE.search(data, start + 1)


def expand(stored: bytes, *, whole: bool = False) -> bytes | None:
    """What `stored`, the size and method and then the compressed bytes, holds; None when it is no such thing.

    Of bytes that break off: what they hold up to there, unless they are to be a `whole` value.
    """
    if len(stored) < 4 + _COMPRESSED_BYTES_MIN:
        return None
    info = _UINT32.unpack_from(stored)[0]
    size, method = info & 0x3FFFFFFF, info >> 30
    body = stored[4:]
    if not _plausible(len(body), size):
        return None
    decoded = pglz(body, size) if method == 0 else lz4_block(body, size) if method == 1 else None
    return None if not decoded or (whole and len(decoded) != size) else decoded


def _plausible(compressed: int, size: int) -> bool:
    return compressed >= _COMPRESSED_BYTES_MIN and compressed < size <= _EXPANSION_MAX * compressed and size >= 32


def lz4_block(body: bytes, size: int) -> bytes | None:
    try:
        return bytes(lz4.block.decompress(body, uncompressed_size=size))
    except (lz4.block.LZ4BlockError, ValueError):
        return None


def pglz(body: bytes, size: int) -> bytes:
    """`body` decompressed to at most `size` bytes; up to where it breaks, when it does.

    A control byte says of each of the next eight items, lowest bit first, whether it is a byte as it is or a copy of
    what came before. Cost: about a microsecond an item.
    """
    out = bytearray()
    at, end = 0, len(body)
    if not body or body[0] & 1:  # a copy of what came before, and nothing did
        return b""
    while at < end and len(out) < size:
        control = body[at]
        at += 1
        if control == 0:  # eight bytes as they are
            out += body[at : at + 8]
            at += 8
            continue
        for bit in range(8):
            if at >= end or len(out) >= size:
                break
            if not control >> bit & 1:
                out.append(body[at])
                at += 1
                continue
            if at + 1 >= end:
                return bytes(out)
            length = (body[at] & 0x0F) + 3
            distance = (body[at] & 0xF0) << 4 | body[at + 1]
            at += 2
            if length == 18:
                if at >= end:
                    return bytes(out)
                length += body[at]
                at += 1
            if not 0 < distance <= len(out):
                return bytes(out)
            start = len(out) - distance
            if distance >= length:
                out += out[start : start + length]
            else:
                piece = bytes(out[start:])
                out += (piece * (length // distance + 1))[:length]
    return bytes(out[:size])


# --- values moved out of their rows ---


class Chunk(NamedTuple):
    """One piece of a moved-out value: the value's number, the piece's place in it, its bytes."""

    value: int
    seq: int
    data: bytes


class Chunks:
    """Values of which pieces were met, until they are whole. Memory: at most `held_bytes_max`."""

    def __init__(self, held_bytes_max: int = 64 << 20) -> None:
        self._values: dict[int, dict[int, bytes]] = {}
        self._held = 0
        self._held_max = held_bytes_max

    def add(self, chunk: Chunk) -> Iterator[bytes]:
        """Note one piece. Yields the values that are whole now, or that there was no more room to wait for."""
        value, seq, data = chunk
        pieces = self._values.setdefault(value, {})
        if pieces.get(seq) not in (None, data):  # the number was used again: what is held belonged to another value
            yield self._take(value)
            pieces = self._values[value] = {}
        if seq not in pieces:
            pieces[seq] = data
            self._held += len(data)
        if len(pieces[max(pieces)]) < CHUNK_BYTES and max(pieces) == len(pieces) - 1:
            yield self._take(value)
        while self._held > self._held_max:
            yield self._take(next(iter(self._values)))

    def rest(self) -> Iterator[bytes]:
        """Values that never became whole, and those that end with a whole piece."""
        for value in list(self._values):
            yield self._take(value)

    def _take(self, value: int) -> bytes:
        pieces = self._values.pop(value)
        self._held -= sum(map(len, pieces.values()))
        return b"".join(pieces[seq] for seq in sorted(pieces))


def page_chunks(page: bytes) -> Iterator[Chunk]:
    """The pieces of moved-out values on a page.

    Cost: a microsecond for a page that holds none, as all rows of one table have one shape.
    """
    lower, upper, special, version = _PAGE_HEAD.unpack_from(page)
    if version != PAGE_BYTES | _LAYOUT_VERSION or not _PAGE_HEAD_BYTES <= lower <= upper <= special <= PAGE_BYTES:
        return
    for at in range(_PAGE_HEAD_BYTES, lower, 4):
        pointer = _UINT32.unpack_from(page, at)[0]
        start, flags, length = pointer & 0x7FFF, pointer >> 15 & 3, pointer >> 17
        if flags != _NORMAL:
            continue
        row = page[start : start + length]
        # Three columns and no nulls: the header is 24 bytes.
        if len(row) < 36 or row[22] != 24 or not three_columns(row[18:20]):
            return
        chunk = chunk_of(row[24:])
        if chunk is None:
            return
        yield chunk


def three_columns(infomask2: bytes) -> bool:
    return int.from_bytes(infomask2, "little") & 0x07FF == 3


def chunk_of(row: bytes) -> Chunk | None:
    """The piece that a row's columns hold, when they are those of a table of moved-out values."""
    if len(row) < 13:
        return None
    value, seq = _TWO_UINT32.unpack_from(row)
    length = _UINT32.unpack_from(row, 8)[0]
    size = (length >> 2) - 4
    if length & 3 or not 0 < size <= CHUNK_BYTES or size != len(row) - 12 or seq > 1 << 20:
        return None
    return Chunk(value, seq, row[12:])
