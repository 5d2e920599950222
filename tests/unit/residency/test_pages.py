"""PostgreSQL's compression and its moved-out values, from bytes made here and from hostile ones."""

import os
import struct
from random import Random

import lz4.block
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hutong.residency.pages import (
    CHUNK_BYTES,
    PAGE_BYTES,
    Chunk,
    Chunks,
    compressed_values,
    expand,
    page_chunks,
    pglz,
)


def compress(data: bytes) -> bytes:
    """PostgreSQL's compression, written plainly: the longest copy from the last 4,095 bytes, else the byte."""
    out = bytearray()
    at = 0
    while at < len(data):
        control = len(out)
        out.append(0)
        for bit in range(8):
            if at >= len(data):
                break
            length, distance = longest_copy(data, at)
            if length < 3:
                out.append(data[at])
                at += 1
                continue
            out[control] |= 1 << bit
            out += bytes((distance >> 4 & 0xF0 | min(length, 18) - 3, distance & 0xFF))
            if length >= 18:
                out.append(length - 18)
            at += length
    return bytes(out)


def longest_copy(data: bytes, at: int) -> tuple[int, int]:
    best = (0, 0)
    for distance in range(1, min(at, 4_095) + 1):
        length = 0
        while length < 273 and at + length < len(data) and data[at + length] == data[at + length - distance]:
            length += 1
        best = max(best, (length, distance))
    return best


def stored(data: bytes, method: int = 0) -> bytes:
    body = compress(data) if method == 0 else lz4.block.compress(data, store_size=False)
    return struct.pack("<I", len(data) | method << 30) + body


texts = st.text(alphabet="abc ", max_size=120).map(str.encode) | st.binary(max_size=80)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert pglz(compress(data), len(data)) == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 5_000))
def test_nonsense_ends_and_stays_within_its_size(data: bytes, size: int) -> None:
    assert len(pglz(data, size)) <= size


def test_what_breaks_off_is_read_up_to_there() -> None:
    data = b"the beginning of it, and " * 20 + os.urandom(50)
    half = compress(data)[:60]
    assert pglz(half, len(data)) == data[: len(pglz(half, len(data)))]
    assert len(pglz(half, len(data))) > 20


def values(data: bytes) -> list[bytes | None]:
    return [expand(stored, whole=True) for _, stored in compressed_values(data, 0)]


@pytest.mark.parametrize("method", [0, 1])
@pytest.mark.parametrize("before", [0, 1, 7, 1_000])
def test_a_compressed_value_is_found_anywhere(method: int, before: int) -> None:
    data = b"a letter to the family " * 12
    body = stored(data, method)
    value = struct.pack("<I", len(body) + 4 << 2 | 2) + body
    assert data in values(os.urandom(before) + value + b"\0" * 9)


def test_a_value_behind_what_looks_like_one_is_found() -> None:
    data = b"a letter to the family " * 12
    body = stored(data)
    value = struct.pack("<I", len(body) + 4 << 2 | 2) + body
    false = b"\x02\x10\0\0"  # its eight bytes would reach into the real one
    assert data in values(false + value)


def rows(chunks: list[Chunk]) -> bytes:
    """A page of a table of moved-out values."""
    page = bytearray(PAGE_BYTES)
    end = PAGE_BYTES
    pointers = b""
    for value, seq, data in chunks:
        row = struct.pack("<IIIHHHHHBx", 700, 0, 0, 0, 0, 1, 3, 0x0902, 24)
        row += struct.pack("<III", value, seq, len(data) + 4 << 2) + data
        end = (end - len(row)) // 8 * 8
        page[end : end + len(row)] = row
        pointers += struct.pack("<I", end | 1 << 15 | len(row) << 17)
    page[24 : 24 + len(pointers)] = pointers
    struct.pack_into("<HHHHH", page, 10, 0, 24 + len(pointers), end, PAGE_BYTES, PAGE_BYTES | 4)
    return bytes(page)


def test_the_pieces_on_a_page() -> None:
    chunks = [Chunk(16_500, 0, b"a" * CHUNK_BYTES), Chunk(16_500, 1, b"b" * 7), Chunk(16_501, 0, b"c" * 500)]
    assert list(page_chunks(rows(chunks))) == chunks


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), st.lists(st.integers(0, PAGE_BYTES), min_size=3, max_size=3))
def test_no_page_stops_the_reading(seed: int, bounds: list[int]) -> None:
    page = bytearray(Random(seed).randbytes(PAGE_BYTES))
    list(page_chunks(bytes(page)))
    struct.pack_into("<HHHH", page, 12, *sorted(bounds), PAGE_BYTES | 4)
    list(page_chunks(bytes(page)))


def test_a_value_is_whole_with_its_last_piece_in_whatever_order() -> None:
    chunks = Chunks()
    first, second, last = Chunk(1, 0, b"a" * CHUNK_BYTES), Chunk(1, 1, b"b" * CHUNK_BYTES), Chunk(1, 2, b"c")
    assert [list(chunks.add(chunk)) for chunk in (last, first, second)] == [[], [], [first[2] + second[2] + last[2]]]
    assert list(chunks.rest()) == []


def test_a_number_used_again_is_another_value() -> None:
    chunks = Chunks()
    old = Chunk(1, 0, b"a" * CHUNK_BYTES)
    assert list(chunks.add(old)) == []
    assert list(chunks.add(Chunk(1, 0, b"b" * CHUNK_BYTES))) == [old.data]
    assert list(chunks.rest()) == [b"b" * CHUNK_BYTES]


def test_memory_for_unfinished_values_is_bounded() -> None:
    chunks = Chunks(held_bytes_max=10 * CHUNK_BYTES)
    given_up = [value for number in range(25) for value in chunks.add(Chunk(number, 0, bytes(CHUNK_BYTES)))]
    assert len(given_up) == 15
    assert len(list(chunks.rest())) == 10


def test_a_moved_out_value_is_expanded() -> None:
    data = b"a letter to the family " * 300
    assert expand(stored(data)) == data
    assert expand(stored(data, method=1)) == data
    assert expand(b"") is None
