"""The words within what a sealed record opens to: what an audit looks for elsewhere. No I/O."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hutong.accounts.model import PERSON
from hutong.cells.records import unpack
from hutong.residency.markers import Kind

_NAMES = frozenset(
    ("name", "displayname", "topic", "alias", "aliases", "alt_aliases", "reason", "device_id", "room_alias_name")
)
"""Keys of JSON whose values people and rooms are called by; these are searched case-folded and hashed too."""
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ufffd]+")
_ID = re.compile(r"[$!][A-Za-z0-9_-]{22,43}(:[A-Za-z0-9.:\[\]-]+)?")
"""An event id or a room id: random, and no word."""
_DEPTH_MAX = 64


class Word(NamedTuple):
    kind: Kind
    text: str


def words(table: str, column: str, plain: bytes, server_name: str) -> Iterator[Word]:
    """Every string in what `table.column` opened to. `server_name`: of the region, which makes a name a user id."""
    for word in _words(table, column, plain, server_name):
        if word.text and not _ID.fullmatch(word.text):
            yield word


def _words(table: str, column: str, plain: bytes, server_name: str) -> Iterator[Word]:
    if (table, column) == ("content", "body"):
        content = unpack(plain)
        yield Word(Kind.CONTENT, content.type)
        yield Word(Kind.CONTENT, content.state_key or "")
        yield from _json(content.json)
    elif (table, column) == ("accounts", "password"):
        yield Word(Kind.CONTENT, plain.decode("utf-8", "replace").rpartition("$")[2])  # what comes before is the recipe
    elif (table, column) == ("accounts", "person"):
        person = PERSON.decode(plain)
        yield Word(Kind.USER_ID, f"@{person.localpart}:{server_name}")
        yield Word(Kind.NAME, person.localpart)
        yield from _strings(person.fields, Kind.CONTENT, 0)
    elif (table, column) == ("alias_words", "body"):
        yield Word(Kind.NAME, plain.decode("utf-8", "replace"))
    else:
        before, brace, after = plain.partition(b"{")
        yield from _runs(before)
        yield from _json(brace + after)


def _json(raw: bytes) -> Iterator[Word]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        yield from _runs(raw)
    else:
        yield from _strings(value, Kind.CONTENT, 0)


def _strings(value: Any, kind: Kind, depth: int) -> Iterator[Word]:
    if isinstance(value, str):
        yield Word(kind, value)
    elif isinstance(value, list) and depth < _DEPTH_MAX:
        for each in value:
            yield from _strings(each, kind, depth + 1)
    elif isinstance(value, dict) and depth < _DEPTH_MAX:
        for key, each in value.items():
            yield Word(Kind.CONTENT, key)
            yield from _strings(each, Kind.NAME if key in _NAMES else Kind.CONTENT, depth + 1)


def _runs(raw: bytes) -> Iterator[Word]:
    for text in _PRINTABLE.findall(raw.decode("utf-8", "replace")):
        yield Word(Kind.CONTENT, text)
