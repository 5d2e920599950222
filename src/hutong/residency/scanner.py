"""Reading files and searching them, in two processes when there is much to read."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path

from hutong.residency import wal
from hutong.residency.files import RELATION, SEGMENT, File, Place
from hutong.residency.pages import PAGE_BYTES, Chunk, Chunks, page_chunks
from hutong.residency.stream import Hit, Search, Stream

READ_BYTES = 1 << 20
LEAD_BYTES = 1 << 20
"""Read again of the segment before, so that what begins there and ends in this one is whole."""
PARALLEL_BYTES_MIN = 48 << 20
"""Less is read before a second process would have arranged its needles."""
PROCESSES_MAX = 2
FILE_NAME = "file name"
"""The first step to what was met in the name of a file."""
_UNFINISHED_BYTES_MAX = 4 << 20
"""A record of the write-ahead log that is longer is not put together; its bytes are searched all the same."""


@dataclass
class Scanned:
    """What reading one file gave. `decoded`: bytes, by what was undone. `problem`: why it was not read to its end."""

    file: File
    read_bytes: int = 0
    hits: list[Hit] = field(default_factory=list)
    decoded: dict[str, int] = field(default_factory=dict)
    problem: str | None = None

    def add(self, read: "Scanned") -> None:
        """What reading these bytes, or the same ones in another file, gave."""
        self.read_bytes = read.read_bytes
        self.hits = [*self.hits, *read.hits]
        self.decoded = read.decoded
        self.problem = read.problem


class Scanner:
    """Reads files in one process."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._search = Search(needles)
        self._known: dict[bytes, Scanned] = {}
        """By digest: each new database begins as a copy of another one, and each cluster as a copy of the others."""

    def scan(self, file: File) -> Scanned:
        """Read one file to its end. Raises nothing: what went wrong is in the result."""
        self._search.begin()
        name = Stream(self._search, (FILE_NAME,))
        name.feed(os.fsencode(file.shown))
        name.close()
        scanned = Scanned(file, hits=self._search.hits())
        self._search.begin()
        try:
            with file.path.open("rb", buffering=0) as opened:
                self._read(file, opened.fileno(), scanned)
        except FileNotFoundError:
            pass  # gone since it was listed, so no longer at rest
        except OSError as error:
            scanned.problem = f"{file.shown}: {error.strerror}"
        return scanned

    def _read(self, file: File, descriptor: int, scanned: Scanned) -> None:
        data = _read(descriptor, 0)
        digest = b""
        if 0 < len(data) < READ_BYTES and not SEGMENT.fullmatch(file.path.name):
            digest = blake2b(data, digest_size=16, person=file.place.encode()[:16]).digest()
            if digest in self._known:
                scanned.add(self._known[digest])
                return
        search = self._search
        reader: _Reader
        if SEGMENT.fullmatch(file.path.name):
            reader = _Wal(search)
            if file.lead is not None:
                reader.lead(_tail(file.lead))
        elif file.place is Place.DATABASE and RELATION.fullmatch(file.path.name):
            reader = _Relation(search)
        else:
            reader = _Reader(search)
        read = Scanned(file)
        while data:
            reader.feed(data)
            read.read_bytes += len(data)
            data = _read(descriptor, read.read_bytes)
        reader.close()
        read.hits = search.hits()
        read.decoded = dict(search.decoded)
        if search.exhausted:
            read.problem = f"{file.shown}: what is compressed in it is too large to be read to its end"
        if digest:
            self._known[digest] = read
        scanned.add(read)


def scan(needles: Sequence[bytes], files: Sequence[File], progress: Callable[[int], None]) -> Iterator[Scanned]:
    """Read and search `files`; `progress` hears of bytes done. Results come in any order.

    Cost: about 20 ns a byte and process; 100,000 needles take 150 MB in each process.
    """
    if sum(file.size for file in files) < PARALLEL_BYTES_MIN or (os.cpu_count() or 1) < 2:
        scanner = Scanner(needles)
        for file in files:
            yield scanner.scan(file)
            progress(file.size)
        return
    context = get_context("spawn")  # a fork would copy threads' locks in whatever state they are
    with ProcessPoolExecutor(PROCESSES_MAX, context, _begin, (list(needles),)) as pool:
        futures = [pool.submit(_scan_in_child, batch) for batch in _batches(files)]
        try:
            for future in as_completed(futures):
                for scanned in future.result():
                    yield scanned
                    progress(scanned.file.size)
        finally:
            for future in futures:
                future.cancel()


_BATCH_BYTES = 8 << 20
_child: Scanner | None = None


def _begin(needles: list[bytes]) -> None:
    global _child  # noqa: PLW0603 - the one way to give a pool's process something that is not sent each time
    _child = Scanner(needles)


def _scan_in_child(files: list[File]) -> list[Scanned]:
    assert _child is not None
    return [_child.scan(file) for file in files]


def _batches(files: Sequence[File]) -> Iterator[list[File]]:
    """In the given order, so that the write-ahead log is still read last."""
    batch: list[File] = []
    for file in files:
        batch.append(file)
        if sum(each.size for each in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(descriptor: int, offset: int) -> bytes:
    """READ_BYTES, unless the file ends: whole pages, however few bytes one call gives."""
    parts: list[bytes] = []
    wanted = READ_BYTES
    while wanted and (part := os.pread(descriptor, wanted, offset)):
        parts.append(part)
        wanted -= len(part)
        offset += len(part)
    return b"".join(parts)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as opened:
            size = os.fstat(opened.fileno()).st_size
            return _read(opened.fileno(), max(0, size - LEAD_BYTES))
    except FileNotFoundError:
        return b""


class _Reader:
    """Bytes as they are."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._stream = Stream(search)
        self._blank = bytes(READ_BYTES)
        self._after_blank = False

    def feed(self, data: bytes) -> None:
        """`data`: READ_BYTES, unless it is the last."""
        blank = data == self._blank  # room that was allocated and is not used yet
        if blank and self._after_blank:
            self._stream.skip(len(data))
        else:
            self._stream.feed(data)
        self._after_blank = blank

    def close(self) -> None:
        self._stream.close()


class _Relation(_Reader):
    """Pages of rows. Values that were moved out of their rows are put together and searched too."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._chunks = Chunks()
        self._offset = 0

    def feed(self, data: bytes) -> None:
        super().feed(data)
        for start in range(0, len(data) - PAGE_BYTES + 1, PAGE_BYTES):
            for chunk in page_chunks(data[start : start + PAGE_BYTES]):
                self._add(chunk, self._offset + start)
        self._offset += len(data)

    def close(self) -> None:
        for value in self._chunks.rest():
            self._value(value, self._offset)
        super().close()

    def _add(self, chunk: Chunk, offset: int) -> None:
        for value in self._chunks.add(chunk):
            self._value(value, offset)

    def _value(self, value: bytes, offset: int) -> None:
        self._stream.expand(offset, value)
        with self._search.once(b"moved out" + value) as first:
            if first:
                self._stream.decode("moved-out value", offset, value)


class _Wal(_Relation):
    """The write-ahead log: its records, without the headers of the pages that carry them."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._left = b""

    def lead(self, data: bytes) -> None:
        """The end of the segment before. What is wholly in it was met when that one was read."""
        self._feed(data)
        self._stream.flush()
        self._search.begin()

    def feed(self, data: bytes) -> None:
        if data == self._blank:
            self._left = b""
        else:
            self._feed(data)
        self._offset += len(data)

    def _feed(self, data: bytes) -> None:
        stripped, starts = wal.strip(data)
        self._stream.feed(stripped)
        before = len(self._left)
        whole = self._left + stripped
        end = 0
        for at, record in wal.records(whole, [(0, 0), *((start + before, skip) for start, skip in starts)]):
            end = at + -(-len(record) // 8) * 8
            for found in wal.contents(record):
                if isinstance(found, Chunk):
                    self._add(found, self._offset)
                    continue
                with self._search.once(found.page) as first:
                    if first and found.compressed:
                        self._stream.decode("PostgreSQL's compression", self._offset, found.page)
                for chunk in page_chunks(found.page):
                    self._add(chunk, self._offset)
        self._left = whole[end:] if len(whole) - end < _UNFINISHED_BYTES_MAX else b""
