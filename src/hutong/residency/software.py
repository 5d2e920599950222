"""Words of the software itself: who writes one into a message makes no leak of every file that has it too."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ahocorasick_rs import BytesAhoCorasick, Implementation

import hutong
from hutong.engines.binaries import EngineMissing, binaries

_PIECE_BYTES = 1 << 20


def of_the_software(texts: Sequence[bytes]) -> set[bytes]:
    """Those of `texts` that are in hutong's own source or in PostgreSQL. Cost: 30 MB read, a fifth of a second."""
    if not texts:
        return set()
    automaton = BytesAhoCorasick(texts, implementation=Implementation.ContiguousNFA)
    overlap = max(map(len, texts))
    found: set[bytes] = set()
    for path in _files():
        tail = b""
        with path.open("rb") as file:
            while data := file.read(_PIECE_BYTES):
                whole = tail + data
                found.update(
                    texts[number] for number, _, _ in automaton.find_matches_as_indexes(whole, overlapping=True)
                )
                tail = whole[-overlap:]
    return found


def _files() -> Iterator[Path]:
    source = Path(hutong.__file__).parent
    for suffix in ("py", "sql", "html"):
        yield from source.rglob(f"*.{suffix}")
    try:
        server = binaries().server
    except EngineMissing:
        return
    yield server / "postgres"
    yield server / "initdb"
    yield from (path for path in server.parent.rglob("share/**/*") if path.is_file())
