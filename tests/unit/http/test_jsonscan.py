"""What JSON may be kept and handed on byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.errors import BadJson, MatrixError, NotJson
from hutong.http.jsonscan import DEPTH_MAX, checked_object, event_content

NO_JSON = {
    "nothing": b"",
    "blank": b"  ",
    "half an object": b'{"a": 1',
    "two objects": b"{}{}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "single quotes": b"{'a': 1}",
    "trailing comma": b'{"a": 1,}',
    "comment": b"{} // no",
    "byte order mark": b"\xef\xbb\xbf{}",
    "leading zero": b'{"a": 01}',
    "bare dot": b'{"a": 1.}',
    "plus": b'{"a": +1}',
    "control character": b'{"a": "\x01"}',
    "line break in a string": b'{"a": "\n"}',
    "unknown escape": b'{"a": "\\x41"}',
    "high surrogate alone": b'{"a": "\\ud83d"}',
    "low surrogate alone": b'{"a": "\\ude00 "}',
    "surrogate as a key": b'{"\\ud83d": 1}',
    "not UTF-8": b'{"a": "\xff"}',
    "not UTF-8, as a key": b'{"\xff": 1}',
    "encoded surrogate": b'{"a": "\xed\xa0\x80"}',
    "overlong": b'{"a": "\xc0\x80"}',
}
BAD_JSON = {
    "a list": (b"[]", "body"),
    "a string": (b'"a"', "body"),
    "null": (b"null", "body"),
    "a key twice": (b'{"a":1,"a":1}', "a"),
    "a key twice, spaced": (b'{ "a" : 1 , "a" : 2 }', "a"),
    "a key twice, once escaped": (b'{"a":1,"\\u0061":2}', "a"),
    "a key twice, deep": (b'{"x":[{"b":1,"b":2}]}', "b"),
    "a key twice, hidden by a string that looks like a key": (b'{"a" :1,"a":2,"b":"\\":"}', "a"),
    "too deep": (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), str(DEPTH_MAX)),
    "lists too deep": (b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", str(DEPTH_MAX)),
    "far too deep": (b'{"a":' + b"[" * 100_000, str(DEPTH_MAX)),
    "objects far too deep": (b'{"a":' * 100_000, str(DEPTH_MAX)),
    "54 bits": (b'{"a":{"b":[0,9007199254740992]}}', "a.b[1]"),
    "54 bits, negative": (b'{"a":-9007199254740992}', "a"),
    "200 digits": (b'{"a":1' + b"0" * 200 + b"}", "a"),
    "5,000 digits": (b'{"a":1' + b"0" * 5_000 + b"}", "body"),
    "beyond a double": (b'{"a":1e400}', "body"),
}


@pytest.mark.parametrize("what", NO_JSON)
def test_no_json(what: str) -> None:
    with pytest.raises(NotJson):
        checked_object(NO_JSON[what])


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_two_parsers_could_read_differently(what: str) -> None:
    raw, named = BAD_JSON[what]
    with pytest.raises(BadJson) as error:
        checked_object(raw)
    assert named in error.value.message


def test_the_deepest_and_the_largest_that_pass() -> None:
    deepest = b'{"a":' * (DEPTH_MAX - 1) + b"{}" + b"}" * (DEPTH_MAX - 1)
    assert checked_object(deepest) == json.loads(deepest)
    assert checked_object(b'{"a":9007199254740991,"b":-9007199254740991}') == {"a": 2**53 - 1, "b": 1 - 2**53}


@pytest.mark.parametrize("number", [b"1.5", b"1.0", b"1e3", b"-0.0"])
def test_events_hold_no_fractions(number: bytes) -> None:
    raw = b'{"info":{"w":%b}}' % number
    assert checked_object(raw) == json.loads(raw)
    with pytest.raises(BadJson, match=r"info\.w"):
        event_content(raw)


def test_many_keys_twice_are_refused_quickly() -> None:
    raw = b"{" + b",".join(b'"k%d":1' % (n % 50_000) for n in range(100_000)) + b"}"
    with pytest.raises(BadJson):
        checked_object(raw)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 2]))
def test_everything_else_passes_and_means_what_it_says(value: dict[str, Any], ascii: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    assert event_content(raw) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0d8 1e.-at', max_size=60).map(str.encode))
def test_whatever_is_sent_is_an_object_or_an_error_and_python_agrees(raw: bytes) -> None:
    try:
        value = event_content(raw)
    except MatrixError:
        return
    assert value == json.loads(raw)
