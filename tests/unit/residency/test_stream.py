"""Every way in which a marker may be hidden, alone, nested, and across the edges of what is fed."""

import base64
import gzip
import itertools
import json
import os
import quopri
import zlib
from collections.abc import Callable
from urllib.parse import quote

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hutong.residency.markers import Kind, Marker, needles
from hutong.residency.stream import STEP_BYTES, Hit, Search, Stream

WORDS = "Ünder the old plum tree, at nine"
PLAIN = WORDS.encode()
NEEDLES = needles([Marker(Kind.CONTENT, "cn", PLAIN)])
SEARCH = Search(list(NEEDLES))


def search(*fed: bytes) -> list[Hit]:
    SEARCH.begin()
    stream = Stream(SEARCH)
    for data in fed:
        stream.feed(data)
    stream.close()
    return SEARCH.hits()


def within(data: bytes) -> bytes:
    """Beside it, what a file has around a leak."""
    return b"2026-11-24 12:00 sent: " + data + b" (ok)\n"


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zlib, fast": lambda data: zlib.compress(data, 1),
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    "base64": base64.b64encode,
    "base64, second phase": lambda data: base64.b64encode(b"1" + data),
    "base64, third phase": lambda data: base64.b64encode(b"12" + data),
    "base64, urlsafe": lambda data: base64.urlsafe_b64encode(b"12" + data).rstrip(b"="),
    "base64, in lines": base64.encodebytes,
    "hex": lambda data: data.hex().encode(),
    "hex, capitals": lambda data: data.hex().upper().encode(),
    "percent": lambda data: quote(data).encode(),
    "percent, all of it": lambda data: "".join(f"%{byte:02x}" for byte in data).encode(),
    "quoted-printable": quopri.encodestring,
}
TEXT: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-16 LE": lambda text: text.encode("utf-16-le"),
    "UTF-16 BE": lambda text: text.encode("utf-16-be"),
    "JSON": lambda text: json.dumps({"body": text}).encode(),
    "JSON in JSON": lambda text: json.dumps({"log": json.dumps({"body": text})}).encode(),
    "JSON, capitals": lambda text: text.encode("ascii", "backslashreplace").replace(rb"\xdc", rb"\u00DC"),
}


@pytest.mark.parametrize("name", [*BYTES, *TEXT])
def test_found_in_one_encoding(name: str) -> None:
    hidden = BYTES[name](PLAIN) if name in BYTES else TEXT[name](WORDS)
    assert search(within(hidden))


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(BYTES, [*BYTES, *TEXT])))
def test_found_in_an_encoding_within_another(outer: str, inner: str) -> None:
    hidden = BYTES[inner](PLAIN) if inner in BYTES else TEXT[inner](WORDS)
    assert search(within(BYTES[outer](within(hidden))))


@pytest.mark.parametrize("name", [*BYTES, *TEXT])
@pytest.mark.parametrize("around", [b"", b" ", b'"'])
def test_a_marker_of_sixteen_bytes_is_found_alone(name: str, around: bytes) -> None:
    words = WORDS[1:17]
    needle = Search(list(needles([Marker(Kind.CONTENT, "cn", words.encode())])))
    stream = Stream(needle)
    hidden = BYTES[name](words.encode()) if name in BYTES else TEXT[name](words)
    stream.feed(b"abc" * 4 + around + hidden + around if around else hidden)
    stream.close()
    assert needle.hits()


def test_found_four_deep() -> None:
    hidden = base64.b64encode(gzip.compress(json.dumps({"b": zlib.compress(PLAIN).hex()}).encode()))
    hits = search(within(hidden))
    assert {hit.path for hit in hits} >= {("base64", "gzip", "hex", "zlib")}


def test_what_is_not_there_is_not_found() -> None:
    for name, encode in BYTES.items():
        assert search(within(encode(PLAIN[:15] + b"X" + PLAIN[16:]))) == [], name
    assert search(os.urandom(1 << 20)) == []


def test_an_offset_is_where_the_outermost_encoding_begins() -> None:
    (hit,) = search(bytes(5_000) + gzip.compress(b"a" * 3_000 + PLAIN))
    assert (hit.offset, hit.path) == (5_000, ("gzip",))
    assert {hit.offset for hit in search(bytes(5_000) + PLAIN)} == {5_000}


@pytest.mark.parametrize(
    "name", ["gzip", "zstd", "lz4", "base64", "base64, urlsafe", "hex", "percent", "UTF-16 LE", "JSON"]
)
@pytest.mark.parametrize("before", [1, 3, 17, 40])
def test_found_across_the_edge_of_a_step(name: str, before: int) -> None:
    hidden = BYTES[name](PLAIN) if name in BYTES else TEXT[name](WORDS)
    start = STEP_BYTES - before
    whole = b"." * start + hidden + b"." * 100
    assert search(whole[:STEP_BYTES], whole[STEP_BYTES:])


@pytest.mark.parametrize("name", ["gzip", "zlib", "zstd", "lz4", "base64", "hex"])
def test_found_at_the_end_of_an_encoding_of_many_steps(name: str) -> None:
    long = os.urandom(3 * STEP_BYTES)
    data = BYTES[name](long + PLAIN)
    assert search(*(data[at : at + 70_000] for at in range(0, len(data), 70_000)))


@pytest.mark.parametrize("name", ["gzip", "zlib", "zstd", "lz4"])
def test_what_comes_before_a_break_counts(name: str) -> None:
    whole = BYTES[name](PLAIN + os.urandom(200_000) + PLAIN)
    broken = whole[: len(whole) - 100_000] + b"\xff" * 5_000
    assert search(broken)


def test_found_beyond_many_false_beginnings() -> None:
    assert search(b"x\x9c" * 20_000 + b"\x1f\x8b\x08" * 500 + PLAIN)
    assert search(b"\x28\xb5\x2f\xfd" * 500 + gzip.compress(PLAIN))


def test_a_bomb_is_given_up_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hutong.residency.stream.DECODED_BYTES_MAX", 4 << 20)
    bomb = zlib.compress(zlib.compress(bytes(64 << 20)))
    assert search(bomb, PLAIN)  # what lies beside it is still found
    assert SEARCH.exhausted


@settings(max_examples=60, deadline=None)
@given(
    layers=st.lists(st.sampled_from(sorted(BYTES)), max_size=4),
    before=st.binary(max_size=60),
    cut=st.integers(0, 400),
)
def test_found_whatever_is_around_and_however_it_is_fed(layers: list[str], before: bytes, cut: int) -> None:
    hidden = PLAIN
    for layer in layers:
        hidden = BYTES[layer](hidden)
    # A character of the same alphabet right before would only be a different leak.
    whole = before + b" |" + hidden + b"| "
    assert search(whole[:cut], whole[cut:])
