"""What the default push rules make of an event, for everybody in its room at once. Pure.

The rules of `rules.py`, which nobody can change yet, ask only about the event itself, about whether it names the
reader, and about whether its sender may notify the whole room. So one look at the event serves all its readers.

Source: Client-Server API v1.19, "Predefined Rules", in their order. Types and patterns compare without regard to case.
"""

from typing import Any, Final

from msgspec import Struct

from hutong.cells.codes import Loud

NAMED_MAX: Final = 100
"""How many of those whom an event names are told of it."""
_UNDERRIDES: Final = frozenset({"m.call.invite", "m.room.message", "m.room.encrypted"})
_QUIET: Final = frozenset({"m.reaction"})


class Effect(Struct, frozen=True):
    """`loud` without regard to a mention of the whole room; that shouts, if the sender may do it."""

    loud: Loud = Loud(0)
    mentions_room: bool = False
    named: tuple[str, ...] = ()
    """Whom it names."""


def effect_of(type: str, state_key: str | None, content: dict[str, Any]) -> Effect:
    """What an event with this content does."""
    kind = type.lower()
    msgtype = content.get("msgtype")
    if kind == "m.room.member" or (isinstance(msgtype, str) and msgtype.lower() == "m.notice"):
        return Effect()
    mentions = content.get("m.mentions")
    if not isinstance(mentions, dict):
        mentions = {}
    named = _texts(mentions.get("user_ids"))
    loud = _unmentioned(kind, state_key, content) | (Loud.NAMES if named else Loud(0))
    return Effect(loud, mentions.get("room") is True, named)


def _unmentioned(kind: str, state_key: str | None, content: dict[str, Any]) -> Loud:
    """What is left to those who are not mentioned."""
    if kind == "m.room.tombstone" and state_key == "":
        return Loud.NOTIFIES | Loud.SHOUTS
    if kind in _QUIET or (kind == "m.room.server_acl" and state_key == ""):
        return Loud(0)
    relation = content.get("m.relates_to")
    if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
        return Loud(0)
    return Loud.NOTIFIES if kind in _UNDERRIDES else Loud(0)


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        return ()
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str)))[:NAMED_MAX]
