"""What is left of an event: after a redaction, and after its author was erased. No I/O, no clock.

A redaction prunes the words that are there. An erasure leaves no words at all, so what governs the room is written anew
from the projection, which is nobody's words; a room that an erased person created, ruled or closed stays as it was.

Source: room versions 10 and 11, "Redactions" (12 is as 11).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hutong.ids import MemberRef, TypeCode
from hutong.rooms.event_types import (
    CREATE,
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEGOLM,
    MEMBER,
    NOTIFY_ROOM,
    POWER_LEVELS,
    SPACE,
    TOMBSTONE,
    Algorithm,
    Membership,
    text_of,
)
from hutong.rooms.projection import JoinRules, PowerLevels, Projection, Version

_LEVELS: Final = ("ban", "events_default", "kick", "redact", "state_default", "users_default")
_KEPT_10: Final[Mapping[str, frozenset[str]]] = {
    "m.room.member": frozenset({"membership", "join_authorised_via_users_server"}),
    "m.room.create": frozenset({"creator"}),
    "m.room.join_rules": frozenset({"join_rule", "allow"}),
    "m.room.power_levels": frozenset({"events", "users", *_LEVELS}),
    "m.room.history_visibility": frozenset({"history_visibility"}),
}
_KEPT_11: Final[Mapping[str, frozenset[str]]] = {
    **_KEPT_10,
    "m.room.power_levels": frozenset({"events", "users", "invite", *_LEVELS}),
    "m.room.redaction": frozenset({"redacts"}),
}
_EVENT_11: Final = frozenset({
    "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
    "prev_events", "auth_events", "origin_server_ts",
})  # fmt: skip
_EVENT_10: Final = _EVENT_11 | {"prev_state", "origin", "membership"}


def redacted_content(version: Version, type: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` of an event of `type` after its redaction. Again redacted, it stays the same."""
    if version >= 11 and type == "m.room.create":
        return dict(content)
    kept = (_KEPT_11 if version >= 11 else _KEPT_10).get(type, frozenset())
    pruned = {key: value for key, value in content.items() if key in kept}
    if version >= 11 and type == "m.room.member":
        invite = content.get("third_party_invite")
        if isinstance(invite, Mapping) and "signed" in invite:
            pruned["third_party_invite"] = {"signed": invite["signed"]}
    return pruned


def redacted_event(version: Version, event: Mapping[str, Any]) -> dict[str, Any]:
    """`event`, as clients and room versions write it, after its redaction; `unsigned` is the reader's and not in it."""
    kept = _EVENT_11 if version >= 11 else _EVENT_10
    pruned = {key: value for key, value in event.items() if key in kept}
    pruned["content"] = redacted_content(version, event["type"], event["content"])
    return pruned


@dataclass(frozen=True)
class Names:
    """How numbers become text again. `user_id` also has a text for somebody erased."""

    user_id: Callable[[MemberRef], str]
    room_id: Callable[[bytes], str]


def refs_in(type: TypeCode, room: Projection) -> frozenset[MemberRef]:
    """The refs whose user ids `content_from_projection` asks for, so that they can be fetched first."""
    if type == CREATE:
        return frozenset(room.creators if room.version >= 12 else room.creators[:1] if room.version == 10 else ())
    if type == POWER_LEVELS and room.power is not None:
        return frozenset(room.power.users)
    return frozenset()


def content_from_projection(
    type: TypeCode, room: Projection, names: Names, membership: Membership = Membership.LEAVE
) -> dict[str, Any]:
    """What an erased author's state event of `type` says, as far as it governs; `{}` for all other types.

    It is more than a redaction keeps (encryption, guest access, the replacement room), because a client that does not
    see these does the wrong thing, and less than was written: texts that the specification does not name (event types,
    keys of `notifications`, the room's type) are gone with their author, though they go on governing.
    `membership`: what the event sets, for `m.room.member`. Only the room's current event of a type may be written so.
    """
    if type == MEMBER:
        return {"membership": membership.text}
    if type == CREATE:
        return _create(room, names)
    if type == POWER_LEVELS and room.power is not None:
        return _power_levels(room.power, names)
    if type == JOIN_RULES and room.join_rules is not None:
        return _join_rules(room.join_rules, names)
    if type == HISTORY_VISIBILITY and room.visibility is not None:
        return {"history_visibility": room.visibility.text}
    if type == GUEST_ACCESS and room.guest_access is not None:
        return {"guest_access": room.guest_access.text}
    if type == ENCRYPTION and room.algorithm == Algorithm.MEGOLM_V1_AES_SHA2:
        return {"algorithm": MEGOLM}
    if type == TOMBSTONE and room.tombstone is not None and room.tombstone.replacement is not None:
        return {"body": "", "replacement_room": names.room_id(room.tombstone.replacement)}
    return {}


def _create(room: Projection, names: Names) -> dict[str, Any]:
    content: dict[str, Any] = {"room_version": str(room.version)}
    if room.version == 10:
        content["creator"] = names.user_id(room.creators[0])
    if len(room.creators) > 1:
        content["additional_creators"] = [names.user_id(ref) for ref in room.creators[1:]]
    if not room.federate:
        content["m.federate"] = False
    if room.is_space:
        content["type"] = SPACE
    if room.predecessor is not None:
        content["predecessor"] = {"room_id": names.room_id(room.predecessor)}
    return content


def _power_levels(power: PowerLevels, names: Names) -> dict[str, Any]:
    content: dict[str, Any] = {
        "users": {names.user_id(ref): level for ref, level in power.users.items()},
        "events": {text: level for type, level in power.events.items() if (text := text_of(type)) is not None},
    }
    for field in (*_LEVELS, "invite"):
        level = getattr(power, field)
        if level is not None:
            content[field] = level
    if NOTIFY_ROOM in power.notifications:
        content["notifications"] = {"room": power.notifications[NOTIFY_ROOM]}
    return content


def _join_rules(rules: JoinRules, names: Names) -> dict[str, Any]:
    content: dict[str, Any] = {"join_rule": rules.rule.text}
    if rules.allowed:
        content["allow"] = [
            {"type": "m.room_membership", "room_id": names.room_id(room_id)} for room_id in rules.allowed
        ]
    return content
