"""The write-ahead log, read as the stream of records that its pages carry. No I/O.

Source: PostgreSQL 18, `xlogrecord.h`; the same layout holds from version 15 on.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import zstandard

from hutong.residency.pages import PAGE_BYTES, Chunk, chunk_of, lz4_block, pglz, three_columns

_PAGE = struct.Struct("<HHIQI")
_PAGE_HEAD_BYTES = 24
_LONG_PAGE_HEAD_BYTES = 40
_CONTINUES, _LONG = 1, 2
_MAGICS = range(0xD10D, 0xD180)
"""Of PostgreSQL 14 and those after it."""
_RECORD = struct.Struct("<IIQBBxxI")
_RECORD_BYTES_MAX = 1 << 26
_HEAP = 10
_BLOCK_MAX = 32
_DATA_SHORT, _DATA_LONG, _ORIGIN, _TOPLEVEL_XID = 255, 254, 253, 252
_BLOCK = struct.Struct("<BBH")
_IMAGE = struct.Struct("<HHB")
_HAS_IMAGE, _HAS_DATA, _SAME_RELATION = 0x10, 0x20, 0x80
_HAS_HOLE, _PGLZ, _LZ4, _ZSTD = 0x01, 0x04, 0x08, 0x10
_COMPRESSED = _PGLZ | _LZ4 | _ZSTD
_INTERESTING_BYTES = 64
"""A shorter record holds neither an image nor a piece of a value worth putting together."""


class Image(NamedTuple):
    """A page as it was written whole. `compressed`: a search of the raw bytes could not see into it."""

    page: bytes
    compressed: bool


class _Block(NamedTuple):
    """What the header of a record says of one block: how many bytes of image and of data follow."""

    image: int
    image_flags: int
    hole_start: int
    hole: int
    data: int


def strip(data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """`data`, whole pages, without their headers: what crossed a page's edge is in one piece again.

    Also where in it each page begins, and how many bytes of an earlier record it begins with. A page without a header
    of its own stays as it is.
    """
    starts: list[tuple[int, int]] = []
    kept = bytearray()
    for start in range(0, len(data), PAGE_BYTES):
        page = data[start : start + PAGE_BYTES]
        if len(page) < _LONG_PAGE_HEAD_BYTES:
            kept += page
            continue
        magic, flags, _, _, remaining = _PAGE.unpack_from(page)
        if magic not in _MAGICS:
            kept += page
            continue
        head = _LONG_PAGE_HEAD_BYTES if flags & _LONG else _PAGE_HEAD_BYTES
        starts.append((len(kept), -(-remaining // 8) * 8 if flags & _CONTINUES else 0))
        kept += page[head:]
    return bytes(kept), starts


def records(stream: bytes, starts: list[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Where each record within `stream` begins, and its bytes. `starts`: as from `strip`.

    What is no record is passed over, and the next page says where one begins again.
    """
    at = 0
    for number, (start, skip) in enumerate(starts):
        page_end = starts[number + 1][0] if number + 1 < len(starts) else len(stream)
        at = max(at, start + skip)
        while at < page_end and at + _RECORD.size <= len(stream):
            length = int.from_bytes(stream[at : at + 4], "little")
            if not _RECORD.size <= length <= _RECORD_BYTES_MAX or at + length > len(stream):
                break
            yield at, stream[at : at + length]
            at += -(-length // 8) * 8


def contents(record: bytes) -> Iterator[Image | Chunk]:
    """What a search of the raw bytes would miss in a record: whole pages, and pieces of moved-out values."""
    if len(record) < _INTERESTING_BYTES:
        return
    try:
        blocks, at = _blocks(record)
    except (IndexError, struct.error):
        return  # not a record after all
    manager, info = record[17], record[16]
    for block in blocks:
        if block.image:
            page = _page(record[at : at + block.image], block)
            at += block.image
            if page is not None:
                yield Image(page, compressed=bool(block.image_flags & _COMPRESSED))
        if block.data:
            data = record[at : at + block.data]
            at += block.data
            # A row put into a table of moved-out values: five bytes of header, one of padding, three columns.
            if manager == _HEAP and info & 0x70 == 0 and len(data) > 18 and data[4] == 24 and three_columns(data[:2]):
                chunk = chunk_of(data[6:])
                if chunk is not None:
                    yield chunk


def _blocks(record: bytes) -> tuple[list[_Block], int]:
    """The headers of a record's blocks, and where what they announce begins."""
    at = _RECORD.size
    blocks: list[_Block] = []
    announced = 0
    while at + announced < len(record):
        id = record[at]
        if id == _DATA_SHORT:
            return blocks, at + 2
        if id == _DATA_LONG:
            return blocks, at + 5
        if id in (_ORIGIN, _TOPLEVEL_XID):
            at += 3 if id == _ORIGIN else 5
            continue
        if id > _BLOCK_MAX:
            raise IndexError
        _, flags, size = _BLOCK.unpack_from(record, at)
        at += _BLOCK.size
        image = image_flags = hole_start = hole = 0
        if flags & _HAS_IMAGE:
            image, hole_start, image_flags = _IMAGE.unpack_from(record, at)
            at += _IMAGE.size
            if image_flags & _HAS_HOLE and image_flags & _COMPRESSED:
                hole = int.from_bytes(record[at : at + 2], "little")
                at += 2
            elif image_flags & _HAS_HOLE:
                hole = max(0, PAGE_BYTES - image)
        at += 4 if flags & _SAME_RELATION else 16
        block = _Block(image, image_flags, hole_start, hole, size if flags & _HAS_DATA else 0)
        announced += block.image + block.data
        blocks.append(block)
    return blocks, at


def _page(image: bytes, block: _Block) -> bytes | None:
    """The whole page, with its hole of zeros back in place."""
    size = PAGE_BYTES - block.hole
    packed: bytes | None = image
    if block.image_flags & _PGLZ:
        packed = pglz(image, size)
    elif block.image_flags & _LZ4:
        packed = lz4_block(image, size)
    elif block.image_flags & _ZSTD:
        try:
            packed = zstandard.ZstdDecompressor().decompress(image, max_output_size=size)
        except zstandard.ZstdError:
            packed = None
    if packed is None:
        return None
    return packed[: block.hole_start] + bytes(block.hole) + packed[block.hole_start :]
