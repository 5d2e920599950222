"""The write-ahead log, from pages and records made here; tests/residency reads PostgreSQL's own."""

import os
import struct
from collections.abc import Callable

import lz4.block
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hutong.residency.pages import PAGE_BYTES, Chunk
from hutong.residency.wal import Image, contents, records, strip
from tests.unit.residency.test_pages import compress, rows

MAGIC = 0xD118


def record(body: bytes, manager: int = 10, info: int = 0) -> bytes:
    return struct.pack("<IIQBBxxI", 24 + len(body), 7, 0, info, manager, 0) + body


def log(stream: bytes) -> bytes:
    """`stream` of records, cut into pages; the first has the long header of a segment."""
    out = b""
    at = 0
    bounds = boundaries(stream)
    while at < len(stream):
        head = 40 if not out else 24
        end = at + PAGE_BYTES - head
        rest = next((stop - at for start, stop in bounds if start < at < stop), 0)
        flags = (2 if not out else 0) | (1 if rest else 0)
        out += struct.pack("<HHIQI", MAGIC, flags, 1, len(out), rest).ljust(head, b"\0") + stream[at:end]
        at = end
    return out.ljust(-(-len(out) // PAGE_BYTES) * PAGE_BYTES, b"\0")


def boundaries(stream: bytes) -> list[tuple[int, int]]:
    found = []
    at = 0
    while at < len(stream):
        length = int.from_bytes(stream[at : at + 4], "little")
        found.append((at, at + length))
        at += -(-length // 8) * 8
    return found


def joined(parts: list[bytes]) -> bytes:
    return b"".join(part.ljust(-(-len(part) // 8) * 8, b"\0") for part in parts)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=12))
def test_records_that_cross_pages_are_whole_again(sizes: list[int]) -> None:
    parts = [record(os.urandom(size)) for size in sizes]
    stripped, starts = strip(log(joined(parts)))
    assert [found for _, found in records(stripped, starts)] == parts


def test_after_what_is_no_record_the_next_page_goes_on() -> None:
    parts = [record(os.urandom(3_000)) for _ in range(8)]
    data = bytearray(log(joined(parts)))
    data[40:44] = b"\xff\xff\xff\xff"  # the length of the very first record
    stripped, starts = strip(bytes(data))
    found = [each for _, each in records(stripped, starts)]
    assert found == parts[3:]  # the third one crosses into the second page, whose header says where the fourth begins


def test_a_page_without_a_header_of_its_own_is_kept_whole() -> None:
    data = os.urandom(PAGE_BYTES)
    stripped, starts = strip(b"\0\0" + data[2:])
    assert stripped == b"\0\0" + data[2:]
    assert starts == []


def test_a_piece_of_a_moved_out_value_that_is_inserted() -> None:
    row = struct.pack("<HHBx", 3, 0x0902, 24) + struct.pack("<III", 16_500, 2, (300 + 4) << 2) + b"w" * 300
    block = struct.pack("<BBH", 0, 0x20, len(row)) + bytes(16)
    inserted = record(block + bytes((255, 3)) + row + b"\0\0\0")
    assert list(contents(inserted)) == [Chunk(16_500, 2, b"w" * 300)]


HOLE_START, HOLE = 200, 5_000
PACKERS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "pglz": (0x04, compress),
    "lz4": (0x08, lambda page: lz4.block.compress(page, store_size=False)),
    "zstd": (0x10, zstandard.compress),
}


@pytest.mark.parametrize("name", [None, *PACKERS])
def test_a_page_that_is_written_whole(name: str | None) -> None:
    page = bytearray(rows([Chunk(7, 0, b"a letter to the family " * 40)]))
    page[HOLE_START : HOLE_START + HOLE] = bytes(HOLE)
    without_hole = bytes(page[:HOLE_START] + page[HOLE_START + HOLE :])
    flags, pack = PACKERS[name] if name else (0, bytes)
    image = pack(without_hole)
    block = struct.pack("<BBH", 0, 0x10, 0) + struct.pack("<HHB", len(image), HOLE_START, flags | 0x01)
    block += (struct.pack("<H", HOLE) if name else b"") + bytes(16)
    assert list(contents(record(block + image))) == [Image(bytes(page), compressed=name is not None)]


@settings(max_examples=500, deadline=None)
@given(st.binary(min_size=40, max_size=400))
def test_nonsense_is_passed_over(body: bytes) -> None:
    list(contents(record(body)))
    stripped, starts = strip(body * 50)
    list(records(stripped, starts))
