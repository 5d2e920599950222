"""A client event as bytes: concatenation around the JSON that was sent, which is never decoded and encoded again.

Pure. A fragment is the event without its closing brace, equal for every reader; `unsigned` is the reader's own.
Source: Client-Server API v1.19, "Room event format".
"""

from typing import Any

import msgspec

from hutong.cells.records import Envelope, Words
from hutong.ids import event_id_text
from hutong.rooms.event_types import MEMBER, REDACTION, Membership, text_of

_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, Any])
UNKNOWN_TYPE = "hutong.gone"
"""The type of an event whose own type was its author's word, and went with it."""


def fragment(env: Envelope, words: Words, sender: str, state_key: str | None) -> bytes:
    """The event without its room's id and without its last brace: the bytes that all readers share."""
    parts = [
        b'{"content":', words.json,
        b',"event_id":"', event_id_text(env.event_id).encode(),
        b'","origin_server_ts":', str(words.ts_ms).encode(),
        b',"sender":', _encode(sender),
        b',"type":', _encode(words.type),
    ]  # fmt: skip
    if state_key is not None:
        parts += [b',"state_key":', _encode(state_key)]
    if env.type == REDACTION:
        redacts = _OBJECT.decode(words.json).get("redacts")
        if isinstance(redacts, str):  # clients of older room versions look for it here
            parts += [b',"redacts":', _encode(redacts)]
    return b"".join(parts)


def room_member(room_id: str | None) -> bytes:
    """The member of an event that says its room, for `closed`. `/sync` leaves it out."""
    return b"" if room_id is None else b',"room_id":' + _encode(room_id)


def closed(event: bytes, unsigned: bytes | None, room: bytes = b"") -> bytes:
    """The whole event, with the reader's `unsigned` object when there is one. `room`: what `room_member` made."""
    if unsigned is None:
        return b"%b%b}" % (event, room)
    return b'%b%b,"unsigned":%b}' % (event, room, unsigned)


def aged(event: bytes, age_ms: int, membership: bytes, room: bytes = b"") -> bytes:
    """`closed` for the usual case: of `unsigned` only the age, and what `membership_member` made."""
    return b'%b%b,"unsigned":{"age":%d%b}}' % (event, room, max(age_ms, 0), membership)


def membership_member(membership: str) -> bytes:
    """The member of `unsigned` that says what the reader was to the room, for `aged`."""
    return b',"membership":' + _encode(membership)


def unsigned(
    *,
    age_ms: int | None = None,
    transaction_id: str | None = None,
    membership: str | None = None,
    prev_content: bytes | None = None,
    replaces_state: str | None = None,
    redacted_because: bytes | None = None,
    relations: bytes | None = None,
) -> bytes | None:
    """The reader's part of an event; `prev_content`, `redacted_because` and `relations` are JSON already."""
    parts = []
    if age_ms is not None:
        parts.append(b'"age":' + str(max(age_ms, 0)).encode())
    if transaction_id is not None:
        parts.append(b'"transaction_id":' + _encode(transaction_id))
    if membership is not None:
        parts.append(b'"membership":' + _encode(membership))
    if prev_content is not None:
        parts.append(b'"prev_content":' + prev_content)
    if replaces_state is not None:
        parts.append(b'"replaces_state":' + _encode(replaces_state))
    if redacted_because is not None:
        parts.append(b'"redacted_because":' + redacted_because)
    if relations is not None:
        parts.append(b'"m.relations":' + relations)
    return b"{" + b",".join(parts) + b"}" if parts else None


def stripped(words: Words, sender: str, state_key: str) -> bytes:
    """State as somebody sees it who is not in the room. Source: "Stripped state"."""
    return b"".join(
        (
            b'{"content":', words.json, b',"sender":', _encode(sender),
            b',"state_key":', _encode(state_key), b',"type":', _encode(words.type), b"}",
        )
    )  # fmt: skip


def without_words(env: Envelope, content: dict[str, Any] | None = None) -> Words:
    """What is left of an event whose words are gone: what its envelope says, and `content` from the projection."""
    if content is None:
        is_member = env.type == MEMBER and env.value is not None
        content = {"membership": Membership(env.value or Membership.LEAVE).text} if is_member else {}
    state_key = "" if env.skey == 0 else None
    return Words(env.minute * 60_000, text_of(env.type) or UNKNOWN_TYPE, state_key, _encode(content))
