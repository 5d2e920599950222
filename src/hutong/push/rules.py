"""The default push rules for one person. No I/O.

Source: Client-Server API v1.19, "Predefined Rules".
"""

from functools import lru_cache
from typing import Any, Final, Literal, get_args

import msgspec

Rule = dict[str, Any]
Kind = Literal["override", "content", "room", "sender", "underride"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)

NOTIFY: Final = "notify"
HIGHLIGHT: Final = {"set_tweak": "highlight"}


def _sound(value: str) -> Rule:
    return {"set_tweak": "sound", "value": value}


def _match(key: str, pattern: str) -> Rule:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(name: str, conditions: list[Rule], actions: list[Any], *, enabled: bool = True) -> Rule:
    return {
        "rule_id": f".m.rule.{name}",
        "default": True,
        "enabled": enabled,
        "conditions": conditions,
        "actions": actions,
    }


def default_rules(user_id: str) -> dict[str, list[Rule]]:
    """The rules of every kind, in the order in which they apply, for the person with this user id."""
    mentions_me = {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": user_id}
    mentions_all = {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True}
    replaces = {"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"}
    invites_me = [_match("type", "m.room.member"), _match("content.membership", "invite"), _match("state_key", user_id)]
    may_notify = {"kind": "sender_notification_permission", "key": "room"}
    of_two = {"kind": "room_member_count", "is": "2"}
    aloud = [NOTIFY, _sound("default")]
    return {
        "override": [
            _rule("master", [], [], enabled=False),
            _rule("suppress_notices", [_match("content.msgtype", "m.notice")], []),
            _rule("invite_for_me", invites_me, aloud),
            _rule("member_event", [_match("type", "m.room.member")], []),
            _rule("is_user_mention", [mentions_me], [*aloud, HIGHLIGHT]),
            _rule("is_room_mention", [mentions_all, may_notify], [NOTIFY, HIGHLIGHT]),
            _rule("tombstone", [_match("type", "m.room.tombstone"), _match("state_key", "")], [NOTIFY, HIGHLIGHT]),
            _rule("reaction", [_match("type", "m.reaction")], []),
            _rule("room.server_acl", [_match("type", "m.room.server_acl"), _match("state_key", "")], []),
            _rule("suppress_edits", [replaces], []),
        ],
        "content": [],
        "room": [],
        "sender": [],
        "underride": [
            _rule("call", [_match("type", "m.call.invite")], [NOTIFY, _sound("ring")]),
            _rule("encrypted_room_one_to_one", [of_two, _match("type", "m.room.encrypted")], aloud),
            _rule("room_one_to_one", [of_two, _match("type", "m.room.message")], aloud),
            _rule("message", [_match("type", "m.room.message")], [NOTIFY]),
            _rule("encrypted", [_match("type", "m.room.encrypted")], [NOTIFY]),
        ],
    }


_OURS: Final = "@me:hutong"
_TEMPLATE: Final = msgspec.json.encode({"global": default_rules(_OURS)}).split(b'"' + _OURS.encode() + b'"')


@lru_cache(maxsize=1_024)
def ruleset(user_id: str) -> bytes:
    """The content of `m.push_rules`: `{"global": {...}}` as JSON. Cost: no rule is encoded anew."""
    return msgspec.json.encode(user_id).join(_TEMPLATE)
