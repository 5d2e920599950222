"""A search of a stream of bytes, and of everything that it turns out to contain, as it is fed. No I/O.

What decodes to something becomes a stream of its own, searched in the same way: gzip within base64 within JSON is three
streams deep. Memory is bounded: a stream holds a few hundred kilobytes, and at most OPEN_MAX decompressors.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

from hutong.residency import decoders, pages
from hutong.residency.decoders import Broken, RunCode

DEPTH_MAX = 6
OPEN_MAX = 64
DECODED_BYTES_MAX = 4 << 30
"""From one file. More is a bomb, and the report says that the file was not read to its end."""
CLEAN_MAX = 1 << 20
OVERLAP_BYTES = pages.COMPRESSED_VALUE_BYTES_MAX
"""Kept from one step to the next, so that what crosses the edge is seen whole. Every form of a marker is shorter."""
STEP_BYTES = 256 << 10
"""Less than this is gathered first: a step over a few bytes costs as much as one over a few thousand."""
_WINDOW_BYTES_MAX = 1 << 16
_AROUND_BYTES = 256
_SHORT_RUN_BYTES_MAX = 128


class Hit(NamedTuple):
    """Needle number `needle`, met. `path`: what had to be undone, outermost first. `offset`: where, in the file."""

    needle: int
    path: tuple[str, ...]
    offset: int


class Search:
    """The needles of one audit, and what was met in one file."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        """Cost: a second for 100,000 needles, and 300 MB while they are arranged."""
        assert max(map(len, needles), default=0) < OVERLAP_BYTES
        self._clean: set[int] = set()
        self._meetings = 0
        self._automaton = BytesAhoCorasick(needles, implementation=Implementation.ContiguousNFA) if needles else None
        self.begin()

    def begin(self) -> None:
        """Forget what was met: a new file."""
        self._hits: dict[tuple[int, tuple[str, ...]], int] = {}
        self.decoded: Counter[str] = Counter()
        self.decoded_bytes = 0

    def find(self, data: bytes) -> list[tuple[int, int, int]]:
        """(needle, start, end) of every occurrence. Cost: 4 ns a byte."""
        return self._automaton.find_matches_as_indexes(data, overlapping=True) if self._automaton else []

    def met(self, needle: int, path: tuple[str, ...], offset: int) -> None:
        """Each needle counts once for each way in which it was hidden, where it was met first."""
        self._meetings += 1
        self._hits.setdefault((needle, path), offset)

    @contextmanager
    def once(self, data: bytes) -> Iterator[bool]:
        """Whether the block has to search what `data` holds: False when that was done, and nothing was met in it.

        Every database has the same catalogue, so the same values come up again and again.
        """
        key = hash(data)
        if key in self._clean:
            yield False
            return
        before = self._meetings
        yield True
        if self._meetings == before and not self.exhausted and len(self._clean) < CLEAN_MAX:
            self._clean.add(key)

    def hits(self) -> list[Hit]:
        return [Hit(needle, path, offset) for (needle, path), offset in self._hits.items()]

    @property
    def exhausted(self) -> bool:
        return self.decoded_bytes >= DECODED_BYTES_MAX


class Stream:
    """One sequence of bytes. `path`: what was undone to reach it. `origin`: where in the file it was met."""

    def __init__(self, search: Search, path: tuple[str, ...] = (), origin: int = 0) -> None:
        self._search = search
        self._path = path
        self._origin = origin
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._tail = b""
        self._fed = 0
        self._open: list[_Compressed] = []
        self._runs = [_Run(self, code) for code in (decoders.BASE64, decoders.HEX)]

    def feed(self, data: bytes) -> None:
        """Search `data`, which follows what was fed before. Cost: about 17 ns a byte."""
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= STEP_BYTES:
            self.flush()

    def skip(self, count: int) -> None:
        """Pass over `count` zeros that follow at least as many zeros: nothing can be in them."""
        self.flush()
        self._fed += count

    def close(self) -> None:
        """There is no more."""
        self.flush()
        for run in self._runs:
            run.close()
        for compressed in self._open:
            compressed.close()

    def child(self, name: str, offset: int) -> "Stream":
        """A stream that came out of this one at `offset`. Only the outermost stream's offsets are the file's."""
        return Stream(self._search, (*self._path, name), self._origin if self._path else self._origin + offset)

    def decode(self, name: str, offset: int, decoded: bytes) -> None:
        """Search what was decoded in one piece."""
        inner = self.child(name, offset)
        inner.feed(self.count(name, decoded))
        inner.close()

    def expand(self, offset: int, stored: bytes, *, whole: bool = False) -> None:
        """Search what `stored` holds by PostgreSQL's compression, if it is that."""
        with self._search.once(stored) as first:
            if first and (decoded := pages.expand(stored, whole=whole)):
                self.decode("PostgreSQL's compression", offset, decoded)

    def count(self, name: str, decoded: bytes) -> bytes:
        self._search.decoded[name] += len(decoded)
        self._search.decoded_bytes += len(decoded)
        return decoded

    @property
    def exhausted(self) -> bool:
        return self._search.exhausted

    def flush(self) -> None:
        """Search what was gathered."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0
        if not data:
            return
        seen = len(self._tail)
        whole = self._tail + data
        base = self._fed - seen
        for needle, start, end in self._search.find(whole):
            if end > seen:
                self._search.met(needle, self._path, self._origin if self._path else self._origin + base + start)
        if len(self._path) < DEPTH_MAX and not self.exhausted:
            self._open = [compressed for compressed in self._open if compressed.feed(data)]
            self._open_compressed(whole, seen, base)
            for start, stored in pages.compressed_values(whole, seen):
                self.expand(base + start, stored, whole=True)
            self._short_runs(whole, base)
            self._escapes(whole, base)
            self._utf16(whole, base)
            for run in self._runs:
                run.feed(data, self._fed)
        self._fed += len(data)
        self._tail = whole[-OVERLAP_BYTES:]

    def _open_compressed(self, whole: bytes, seen: int, base: int) -> None:
        for name, magic in decoders.MAGICS.items():
            for match in magic.finditer(whole, max(0, seen - decoders.MAGIC_BYTES_MAX + 1)):
                if match.end() > seen:
                    compressed = _Compressed(self, name, base + match.start())
                    if compressed.feed(whole, match.start()):
                        self._open.append(compressed)
                        if len(self._open) > OPEN_MAX:
                            self._open.pop(0).close()

    def _short_runs(self, whole: bytes, base: int) -> None:
        """Runs that are too short for anything but one marker are decoded and searched all together."""
        classes = whole.translate(decoders.BASE64.classes)
        decoded: dict[str, list[bytes]] = {}
        starts: dict[str, list[int]] = {}
        at = 0
        while (start := classes.find(decoders.SHORT_RUN, at)) >= 0:
            at = classes.find(b".", start)
            if at < 0:
                at = len(whole)
            if at - start <= _SHORT_RUN_BYTES_MAX:
                for name, data in decoders.decode_short(whole[start:at]):
                    if decoders.is_text(data) and at - start < decoders.BASE64.shortest:
                        self.decode(name, base + start, data)  # perhaps encoded again
                    decoded.setdefault(name, []).append(data)
                    starts.setdefault(name, []).append(base + start)
        for name, each in decoded.items():
            ends = list(accumulate(len(data) + 1 for data in each))
            for needle, start, _ in self._search.find(b"\0".join(each)):
                offset = starts[name][bisect(ends, start)]
                self._search.met(needle, (*self._path, name), self._origin if self._path else self._origin + offset)

    def _escapes(self, whole: bytes, base: int) -> None:
        for code in decoders.ESCAPE_CODES:
            for start, end in _windows(code.escape, whole):
                self.decode(code.name, base + start, code.decode(whole[start:end]))

    def _utf16(self, whole: bytes, base: int) -> None:
        classes = whole.translate(decoders.UTF16_CLASSES)
        at = classes.find(decoders.UTF16_ENOUGH)
        while at >= 0:
            match = decoders.UTF16_RUN.match(classes, at)
            assert match is not None
            self.decode("UTF-16", base + at, decoders.decode_utf16(whole[at : match.end()]))
            at = classes.find(decoders.UTF16_ENOUGH, match.end())


class _Compressed:
    """A compressed stream within `owner`, as far as it has been fed."""

    def __init__(self, owner: Stream, name: str, offset: int) -> None:
        self._owner = owner
        self._name = name
        self._offset = offset
        self._decompressor = decoders.OPENERS[name]()
        self._inner: Stream | None = None  # most of what looks like a beginning is none, and never needs it

    def feed(self, data: bytes, start: int = 0) -> bool:
        """Feed `data` from `start` on. False when the stream is over."""
        try:
            while start < len(data) and not self._decompressor.ended:
                for decoded in self._decompressor.feed(data[start : start + decoders.FED_BYTES]):
                    if decoded:
                        self._inner = self._inner or self._owner.child(self._name, self._offset)
                        self._inner.feed(self._owner.count(self._name, decoded))
                    if self._owner.exhausted:
                        raise Broken
                start += decoders.FED_BYTES
        except Broken:
            self.close()
            return False
        if self._decompressor.ended:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()


class _Run:
    """Runs of one alphabet within `owner`, decoded from each place at which a group may begin."""

    def __init__(self, owner: Stream, code: RunCode) -> None:
        self._owner = owner
        self._code = code
        self._short = b""  # the end of what was fed, when it may turn out to be the beginning of a run
        self._inners: list[Stream] = []
        self._left: list[bytes] = []

    def feed(self, data: bytes, offset: int) -> None:
        classes = data.translate(self._code.classes)
        at = 0
        if self._inners or self._short:
            end = classes.find(b".")
            first = data if end < 0 else data[:end]
            if self._inners:
                self._decode(first)
            elif len(self._short) + len(first) >= self._code.shortest:
                self._begin(offset - len(self._short))
                self._decode(self._short + first)
                self._short = b""
            elif end < 0:
                self._short += first
            if end < 0:
                return
            self._short = b""
            self.close()
            at = end
        while (start := classes.find(self._code.enough, at)) >= 0:
            at = classes.find(b".", start)
            self._begin(offset + start)
            self._decode(data[start:] if at < 0 else data[start:at])
            if at < 0:
                return
            self.close()
        self._short = data[max(at, classes.rfind(b".") + 1) :]

    def close(self) -> None:
        for inner, left in zip(self._inners, self._left, strict=True):
            inner.feed(self._owner.count(self._code.name, self._code.decode(left)))
            inner.close()
        self._inners, self._left = [], []

    def _begin(self, offset: int) -> None:
        self._inners = [self._owner.child(self._code.name, offset) for _ in range(self._code.group)]

    def _decode(self, run: bytes) -> None:
        run = self._code.clean(run)
        group = self._code.group
        self._left = [left + run for left in self._left] or [run[skip:] for skip in range(group)]
        for place, (inner, characters) in enumerate(zip(self._inners, self._left, strict=True)):
            whole = len(characters) // group * group
            inner.feed(self._owner.count(self._code.name, self._code.decode(characters[:whole])))
            self._left[place] = characters[whole:]


def _windows(escape: re.Pattern[bytes], data: bytes) -> Iterator[tuple[int, int]]:
    """The stretches of `data` around escapes; one that is too long is cut, and the pieces overlap."""
    first = last = -1
    for match in escape.finditer(data):
        start, end = match.span()
        if first >= 0 and (start - last > 2 * _AROUND_BYTES or end - first > _WINDOW_BYTES_MAX):
            yield max(0, first - _AROUND_BYTES), last + _AROUND_BYTES
            first = -1
        first, last = first if first >= 0 else start, end
    if first >= 0:
        yield max(0, first - _AROUND_BYTES), last + _AROUND_BYTES
