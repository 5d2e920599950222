"""What the list shows of a room, out of its governing state and the contents of four of its events. No I/O.

Source: Client-Server API v1.19, PublishedRoomsChunk.
"""

import re
from collections.abc import Mapping
from typing import Any

from hutong.cells.directory_messages import PublishedRoom
from hutong.directory.alias import parse_alias
from hutong.errors import BadParam
from hutong.ids import TypeCode
from hutong.rooms.event_types import (
    AVATAR,
    CANONICAL_ALIAS,
    CREATE,
    NAME,
    TOPIC,
    GuestAccess,
    HistoryVisibility,
)
from hutong.rooms.projection import Projection

NAME_CHARS_MAX, TOPIC_CHARS_MAX, URL_CHARS_MAX, TYPE_CHARS_MAX = 500, 2_000, 1_000, 255
"""More of a text is cut off in the list: a page of rooms must stay small. The room itself has the whole."""
SHOWN = (CREATE, NAME, TOPIC, AVATAR, CANONICAL_ALIAS)
"""The types of the events whose contents are shown."""
_MXC = re.compile(r"mxc://[^/\s]+/[^/\s]+")
Contents = Mapping[TypeCode, Mapping[str, Any]]


def entry(room_id: str, joined: int, room: Projection, contents: Contents) -> PublishedRoom:
    """`contents`: by type, of those events that are there and can be read."""
    return PublishedRoom(
        room_id=room_id,
        num_joined_members=joined,
        world_readable=room.history is HistoryVisibility.WORLD_READABLE,
        guest_can_join=room.guests is GuestAccess.CAN_JOIN,
        join_rule=room.join_rule.text,
        name=_text(contents, NAME, "name", NAME_CHARS_MAX),
        topic=_topic(contents.get(TOPIC, {})),
        canonical_alias=_alias(contents),
        avatar_url=_avatar(contents),
        room_type=_text(contents, CREATE, "type", TYPE_CHARS_MAX),
    )


def _text(contents: Contents, type: TypeCode, key: str, chars_max: int) -> str | None:
    return _short(contents.get(type, {}).get(key), chars_max)


def _short(value: object, chars_max: int) -> str | None:
    return value[:chars_max] if isinstance(value, str) and value else None


def _topic(content: Mapping[str, Any]) -> str | None:
    """The plain text: that of `m.topic` where it has one (without a mimetype it is plain), else `topic`."""
    block = content.get("m.topic")
    texts = block.get("m.text") if isinstance(block, dict) else None
    for text in texts if isinstance(texts, list) else ():
        if isinstance(text, dict) and text.get("mimetype", "text/plain") == "text/plain":
            return _short(text.get("body"), TOPIC_CHARS_MAX)
    return _short(content.get("topic"), TOPIC_CHARS_MAX)


def _alias(contents: Contents) -> str | None:
    text = contents.get(CANONICAL_ALIAS, {}).get("alias")
    try:
        return str(parse_alias(text)) if isinstance(text, str) else None
    except BadParam:
        return None


def _avatar(contents: Contents) -> str | None:
    url = _text(contents, AVATAR, "url", URL_CHARS_MAX)
    return url if url is not None and _MXC.fullmatch(url) else None
