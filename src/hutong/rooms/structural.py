"""The content of structural state, as a client sends it, read into typed records; each error names the field.

This replaces those authorisation rules that judge an event's form, for room versions 10 to 12: 1.3 and 1.4 (1.4 of
version 12) of `m.room.create`, 4.1 (5.1) of `m.room.member`, and 9.1 to 9.3 (10.1 to 10.3) of `m.room.power_levels`.
A malformed event is answered 400, not 403. Where the specification says what an improper value means, it means that
(the `allow` of join rules); where it does not, the value is refused.

User ids become refs, and texts that the specification does not name keyed hashes. Both may have to be asked for, so a
caller first collects them (`user_ids_in`, `texts_in`), then parses with a `Resolver` that knows them.

Source: Client-Server API v1.19, the event schemas of these types; room versions 10 to 12, "Authorisation rules".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hutong.errors import BadJson
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
    SPACE_ROOM,
    TOMBSTONE,
    Algorithm,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
    Membership,
    code_of,
)
from hutong.rooms.projection import (
    LEVEL_MAX,
    VERSIONS,
    Change,
    Create,
    Encryption,
    GuestRule,
    HistoryRule,
    JoinRules,
    MemberChange,
    PowerLevels,
    Tombstone,
    Version,
)

Content = Mapping[str, Any]
K = TypeVar("K", bound=int)

USER_ID_BYTES_MAX = 255
_USER_ID = re.compile(
    r"@[^:\0\ud800-\udfff]*"  # historical user ids: anything but a colon, NUL and lone surrogates, even nothing
    r":(?:[0-9A-Za-z.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_LEVELS = ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite")


@dataclass(frozen=True)
class Resolver:
    """How the texts in a content become numbers. Each function is called with what was collected beforehand only."""

    ref: Callable[[str], MemberRef]
    """User id to the ref of that person in this room."""
    hashed: Callable[[str], int]
    """Any text to its keyed hash, a negative number."""
    room: Callable[[str], bytes | None]
    """Room id to its 16 bytes; None when it is no room id of ours."""


def is_user_id(text: object) -> bool:
    """Whether `text` is a valid user id, current or historical, of any server."""
    return isinstance(text, str) and _USER_ID.fullmatch(text) is not None and len(text.encode()) <= USER_ID_BYTES_MAX


def parse(version: Version, type: TypeCode, content: Content, resolver: Resolver) -> Change | None:
    """The typed record of a structural `content`; None for every other type of event.

    `m.room.create` says its own version; `parse_create` makes it from what `createRoom` was sent.
    Raises: BadJson (400) naming the field and what would be valid.
    """
    if type == MEMBER:
        return parse_member(content)
    if type == POWER_LEVELS:
        return _power_levels(content, resolver)
    if type == JOIN_RULES:
        return _join_rules(content, resolver)
    if type == HISTORY_VISIBILITY:
        return HistoryRule(visibility=_history_visibility(content))
    if type == GUEST_ACCESS:
        return GuestRule(access=_guest_access(content))
    if type == ENCRYPTION:
        algorithm = _text(content, "algorithm", required=True)
        return Encryption(algorithm=Algorithm.MEGOLM_V1_AES_SHA2 if algorithm == MEGOLM else Algorithm.OTHER)
    if type == TOMBSTONE:
        _text(content, "body")
        return Tombstone(replacement=resolver.room(_text(content, "replacement_room", required=True) or ""))
    if type == CREATE:
        return parse_create(content, resolver)
    return None


def check(version: Version, type: TypeCode, content: Content) -> None:
    """Raise what `parse` would, before anything that `content` names is looked up. Cost: as `parse`."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(text, -1 - len(places))

    resolver = Resolver(ref=lambda user_id: MemberRef(place(user_id)), hashed=place, room=lambda room_id: None)
    parse(version, type, content, resolver)


def parse_member(content: Content) -> MemberChange:
    """The membership that an `m.room.member` event sets.

    Its `join_authorised_via_users_server` is checked for form only: whose authority a restricted join rests on is for
    the room's home to say (see `authorisation`).
    Raises: BadJson (400).
    """
    membership = Membership.of(content.get("membership"))
    if membership is None:
        raise BadJson(f"membership: one of {Membership.texts()}")
    for field in ("displayname", "avatar_url"):
        if content.get(field) is not None:
            _text(content, field)
    _text(content, "reason")
    _flag(content, "is_direct")
    via = content.get("join_authorised_via_users_server")
    if via is not None and not is_user_id(via):
        raise BadJson("join_authorised_via_users_server: must be a user id")
    if "third_party_invite" in content:
        third_party_signed(content)
    return MemberChange(membership=membership, third_party="third_party_invite" in content)


def third_party_signed(content: Content) -> tuple[str, str]:
    """`mxid` and `token` of the `third_party_invite` that `content` has (rules 4.4.1.2 and 4.4.1.3).

    Raises: BadJson (400).
    """
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        raise BadJson("third_party_invite.signed: must be an object with mxid and token")
    mxid, token = signed.get("mxid"), signed.get("token")
    if not isinstance(mxid, str):
        raise BadJson("third_party_invite.signed.mxid: must be a user id")
    if not isinstance(token, str):
        raise BadJson("third_party_invite.signed.token: must be a string")
    return mxid, token


def parse_create(content: Content, resolver: Resolver) -> Create:
    """What the complete content of `m.room.create` says: `room_version` is there, and `creator` in version 10.

    Raises: BadJson (400), with `M_UNSUPPORTED_ROOM_VERSION` for a version that is not served.
    """
    version = parse_version(content.get("room_version", "1"))
    if version == 10 and not is_user_id(content.get("creator")):
        raise BadJson("creator: must be the user id of the room's creator in room version 10")
    room_type = _text(content, "type")
    return Create(
        version=version,
        federate=_flag(content, "m.federate", default=True),
        room_type=0 if room_type is None else SPACE_ROOM if room_type == SPACE else resolver.hashed(room_type),
        predecessor=_predecessor(content, resolver),
        additional=_additional_creators(content, resolver) if version >= 12 else (),
    )


def parse_version(text: object) -> Version:
    """Raises: BadJson (400) `M_UNSUPPORTED_ROOM_VERSION`."""
    if not isinstance(text, str):
        raise BadJson("room_version: must be a string")
    for version in VERSIONS:
        if text == str(version):
            return version
    served = ", ".join(map(str, VERSIONS))
    raise BadJson(f"room_version: this server has versions {served}", errcode="M_UNSUPPORTED_ROOM_VERSION")


def user_ids_in(type: TypeCode, content: Content) -> frozenset[str]:
    """The valid user ids that `content` names where the projection needs their refs. Never raises."""
    named: object = None
    if type == POWER_LEVELS and isinstance(content.get("users"), dict):
        named = content["users"]
    elif type == CREATE and content.get("room_version") == "12":
        named = content.get("additional_creators")
    return frozenset(text for text in named if is_user_id(text)) if isinstance(named, dict | list) else frozenset()


def texts_in(type: TypeCode, content: Content) -> frozenset[str]:
    """The texts in `content` that need a keyed hash, since the specification does not name them. Never raises."""
    if type == CREATE:
        room_type = content.get("type")
        return frozenset({room_type}) if isinstance(room_type, str) and room_type != SPACE else frozenset()
    if type != POWER_LEVELS:
        return frozenset()
    events, notifications = content.get("events"), content.get("notifications")
    texts = {text for text in events if code_of(text) is None} if isinstance(events, dict) else set()
    if isinstance(notifications, dict):
        texts |= notifications.keys() - {"room"}
    return frozenset(texts)


def _power_levels(content: Content, resolver: Resolver) -> PowerLevels:
    users = _object(content, "users")
    for user_id in users:
        if not is_user_id(user_id):
            raise BadJson(f"users.{_shown(user_id)}: not a valid user id")
    levels = {field: _level(content[field], field) for field in _LEVELS if field in content}
    return PowerLevels(
        users=_levels(users, "users", resolver.ref),
        events=_levels(_object(content, "events"), "events", lambda type: _type(type, resolver)),
        notifications=_levels(
            _object(content, "notifications"),
            "notifications",
            lambda key: NOTIFY_ROOM if key == "room" else resolver.hashed(key),
        ),
        **levels,
    )


def _type(type: str, resolver: Resolver) -> TypeCode:
    return code_of(type) or TypeCode(resolver.hashed(type))


def _levels(entries: Content, field: str, key: Callable[[str], K]) -> dict[K, int]:
    """Ascending by key, so that the order says nothing of the content."""
    return dict(sorted((key(text), _level(level, f"{field}.{_shown(text)}")) for text, level in entries.items()))


def _level(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadJson(f"{field}: power levels must be integers")
    if abs(value) > LEVEL_MAX:
        raise BadJson(f"{field}: power levels are between -{LEVEL_MAX} and {LEVEL_MAX}")
    return value


def _join_rules(content: Content, resolver: Resolver) -> JoinRules:
    rule = JoinRule.of(content.get("join_rule"))
    if rule is None:
        raise BadJson(f"join_rule: one of {JoinRule.texts()}")
    if rule not in (JoinRule.RESTRICTED, JoinRule.KNOCK_RESTRICTED):
        return JoinRules(rule=rule)
    conditions = content.get("allow")
    allowed = {_allowed_room(each, resolver) for each in conditions} if isinstance(conditions, list) else set()
    return JoinRules(rule=rule, allowed=tuple(sorted(room for room in allowed if room is not None)))


def _allowed_room(condition: object, resolver: Resolver) -> bytes | None:
    """An improper condition lets nobody in; it is no error."""
    if not isinstance(condition, dict) or condition.get("type") != "m.room_membership":
        return None
    room_id = condition.get("room_id")
    return resolver.room(room_id) if isinstance(room_id, str) else None


def _history_visibility(content: Content) -> HistoryVisibility:
    visibility = HistoryVisibility.of(content.get("history_visibility"))
    if visibility is None:
        raise BadJson(f"history_visibility: one of {HistoryVisibility.texts()}")
    return visibility


def _guest_access(content: Content) -> GuestAccess:
    access = GuestAccess.of(content.get("guest_access"))
    if access is None:
        raise BadJson(f"guest_access: one of {GuestAccess.texts()}")
    return access


def _predecessor(content: Content, resolver: Resolver) -> bytes | None:
    predecessor = content.get("predecessor")
    if predecessor is None:
        return None
    room_id = predecessor.get("room_id") if isinstance(predecessor, dict) else None
    if not isinstance(room_id, str):
        raise BadJson("predecessor: must be an object with a room_id")
    return resolver.room(room_id)


def _additional_creators(content: Content, resolver: Resolver) -> tuple[MemberRef, ...]:
    creators = content.get("additional_creators", [])
    if not isinstance(creators, list):
        raise BadJson("additional_creators: must be a list of user ids")
    for place, user_id in enumerate(creators):
        if not is_user_id(user_id):
            raise BadJson(f"additional_creators[{place}]: not a valid user id")
    return tuple(sorted({resolver.ref(user_id) for user_id in creators}))


def _object(content: Content, field: str) -> Content:
    value = content.get(field, {})
    if not isinstance(value, dict):
        raise BadJson(f"{field}: must be an object")
    return value


def _text(content: Content, field: str, *, required: bool = False) -> str | None:
    if field not in content and not required:
        return None
    value = content.get(field)
    if not isinstance(value, str):
        raise BadJson(f"{field}: must be a string")
    return value


def _flag(content: Content, field: str, *, default: bool = False) -> bool:
    value = content.get(field, default)
    if not isinstance(value, bool):
        raise BadJson(f"{field}: must be true or false")
    return value


def _shown(text: str) -> str:
    """A key as an error shows it: no longer than a user id may be."""
    return text if len(text) <= USER_ID_BYTES_MAX else text[:USER_ID_BYTES_MAX] + "…"
