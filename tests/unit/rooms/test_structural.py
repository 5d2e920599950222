"""Structural content as clients send it: what is read, and what each error says about which field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.errors import BadJson
from hutong.ids import MemberRef, TypeCode
from hutong.rooms.event_types import (
    CREATE,
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEMBER,
    MESSAGE,
    NAME,
    NOTIFY_ROOM,
    POWER_LEVELS,
    SPACE_ROOM,
    STRUCTURAL,
    TOMBSTONE,
    Algorithm,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
    Membership,
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
from hutong.rooms.structural import (
    Resolver,
    is_user_id,
    parse,
    parse_create,
    parse_version,
    texts_in,
    third_party_signed,
    user_ids_in,
)

REFS = {"@alice:cn.localhost": MemberRef(7), "@bob:eu.localhost": MemberRef(-3)}
HASHES = {"org.example.type": -11, "org.example.key": -12, "org.example.room": -13}
ROOMS = {"!here:cn.localhost": bytes(16), "!there": bytes(range(16))}
RESOLVER = Resolver(ref=REFS.__getitem__, hashed=HASHES.__getitem__, room=ROOMS.get)
ALICE, BOB = REFS


def read(type: TypeCode, content: dict[str, Any]) -> Change | None:
    return parse(11, type, content, RESOLVER)


def condition(room_id: object, type: object = "m.room_membership") -> dict[str, Any]:
    return {"type": type, "room_id": room_id}


GOOD: list[tuple[TypeCode, dict[str, Any], Change]] = [
    (MEMBER, {"membership": "ban", "reason": "spam", "displayname": None, "avatar_url": "mxc://a/b"},
     MemberChange(membership=Membership.BAN)),
    (MEMBER, {"membership": "join", "join_authorised_via_users_server": ALICE, "is_direct": True, "more": 1},
     MemberChange(membership=Membership.JOIN)),
    (MEMBER, {"membership": "invite", "third_party_invite": {"signed": {"mxid": ALICE, "token": "t"}}},
     MemberChange(membership=Membership.INVITE, third_party=True)),
    (POWER_LEVELS, {}, PowerLevels()),
    (POWER_LEVELS,
     {"users": {ALICE: 100, BOB: -1}, "users_default": 1, "events_default": 2, "state_default": 3, "ban": 4, "kick": 5,
      "redact": 6, "invite": 7, "events": {"m.room.name": 8, "org.example.type": LEVEL_MAX},
      "notifications": {"room": 9, "org.example.key": -LEVEL_MAX}, "something_else": "ignored"},
     PowerLevels(users={MemberRef(-3): -1, MemberRef(7): 100}, users_default=1, events_default=2, state_default=3,
                 ban=4, kick=5, redact=6, invite=7, events={TypeCode(-11): LEVEL_MAX, NAME: 8},
                 notifications={-12: -LEVEL_MAX, NOTIFY_ROOM: 9})),
    (JOIN_RULES, {"join_rule": "public", "allow": [condition("!there")]}, JoinRules(rule=JoinRule.PUBLIC)),
    (JOIN_RULES, {"join_rule": "restricted", "allow": [condition("!there"), condition("!here:cn.localhost")]},
     JoinRules(rule=JoinRule.RESTRICTED, allowed=(bytes(16), bytes(range(16))))),
    (JOIN_RULES, {"join_rule": "knock_restricted"}, JoinRules(rule=JoinRule.KNOCK_RESTRICTED)),
    (JOIN_RULES, {"join_rule": "restricted", "allow": "invalid"}, JoinRules(rule=JoinRule.RESTRICTED)),
    (JOIN_RULES,
     {"join_rule": "restricted", "allow": [
         "invalid", None, {}, condition(7), condition("!else:far.example"), condition("!there", "org.other"),
         condition("!there"), condition("!there")]},
     JoinRules(rule=JoinRule.RESTRICTED, allowed=(bytes(range(16)),))),
    (HISTORY_VISIBILITY, {"history_visibility": "world_readable"},
     HistoryRule(visibility=HistoryVisibility.WORLD_READABLE)),
    (GUEST_ACCESS, {"guest_access": "can_join"}, GuestRule(access=GuestAccess.CAN_JOIN)),
    (ENCRYPTION, {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 1},
     Encryption(algorithm=Algorithm.MEGOLM_V1_AES_SHA2)),
    (ENCRYPTION, {"algorithm": "org.example.mls"}, Encryption(algorithm=Algorithm.OTHER)),
    (TOMBSTONE, {"replacement_room": "!there", "body": "gone"}, Tombstone(replacement=bytes(range(16)))),
    (TOMBSTONE, {"replacement_room": "!far:else.example"}, Tombstone(replacement=None)),
    (CREATE, {"room_version": "11"}, Create(version=11)),
    (CREATE, {"room_version": "10", "creator": ALICE, "m.federate": False, "type": "m.space",
              "predecessor": {"room_id": "!there", "event_id": "$x"}},
     Create(version=10, federate=False, room_type=SPACE_ROOM, predecessor=bytes(range(16)))),
    (CREATE, {"room_version": "12", "type": "org.example.room", "additional_creators": [ALICE, BOB, ALICE]},
     Create(version=12, room_type=-13, additional=(MemberRef(-3), MemberRef(7)))),
    (CREATE, {"room_version": "11", "additional_creators": "not read before version 12",
              "predecessor": {"room_id": "!far:else.example"}}, Create(version=11)),
]  # fmt: skip


@pytest.mark.parametrize(("type", "content", "change"), GOOD)
def test_what_is_read(type: TypeCode, content: dict[str, Any], change: Change) -> None:
    assert read(type, content) == change


def test_the_order_of_entries_is_not_the_authors() -> None:
    one = read(POWER_LEVELS, {"users": {ALICE: 1, BOB: 2}})
    other = read(POWER_LEVELS, {"users": {BOB: 2, ALICE: 1}})
    assert isinstance(one, PowerLevels)
    assert isinstance(other, PowerLevels)
    assert list(one.users.items()) == list(other.users.items())


NOT_LEVELS: list[object] = ["50", 50.0, True, None, [], {}]
NO_OBJECTS: list[object] = [[], "x", 1, None]
LEVEL_FIELDS = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
BAD: list[tuple[TypeCode, dict[str, Any], str]] = [
    (MEMBER, {}, "membership: one of invite, join, knock, leave, ban"),
    (MEMBER, {"membership": "JOIN"}, "membership: one of"),
    (MEMBER, {"membership": ["join"]}, "membership: one of"),
    (MEMBER, {"membership": "join", "displayname": 1}, "displayname: must be a string"),
    (MEMBER, {"membership": "join", "avatar_url": {}}, "avatar_url: must be a string"),
    (MEMBER, {"membership": "join", "reason": []}, "reason: must be a string"),
    (MEMBER, {"membership": "invite", "is_direct": "yes"}, "is_direct: must be true or false"),
    (MEMBER, {"membership": "join", "join_authorised_via_users_server": "alice"},
     "join_authorised_via_users_server: must be a user id"),
    (MEMBER, {"membership": "invite", "third_party_invite": 1}, "third_party_invite.signed: must be an object"),
    (MEMBER, {"membership": "invite", "third_party_invite": {}}, "third_party_invite.signed: must be an object"),
    (MEMBER, {"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}},
     "third_party_invite.signed.mxid: must be a user id"),
    (MEMBER, {"membership": "invite", "third_party_invite": {"signed": {"mxid": ALICE}}},
     "third_party_invite.signed.token: must be a string"),
    *((POWER_LEVELS, {field: level}, f"{field}: power levels must be integers")
      for field in LEVEL_FIELDS for level in NOT_LEVELS),
    *((POWER_LEVELS, {field: level}, f"{field}: power levels are between -9007199254740991 and 9007199254740991")
      for field in LEVEL_FIELDS for level in (2**53, -(2**53), 10**30)),
    *((POWER_LEVELS, {field: value}, f"{field}: must be an object")
      for field in ("users", "events", "notifications") for value in NO_OBJECTS),
    *((POWER_LEVELS, {"users": {ALICE: level}}, f"users.{ALICE}: power levels must be integers")
      for level in NOT_LEVELS),
    *((POWER_LEVELS, {"events": {"m.room.name": level}}, "events.m.room.name: power levels must be integers")
      for level in NOT_LEVELS),
    *((POWER_LEVELS, {"notifications": {"room": level}}, "notifications.room: power levels must be integers")
      for level in NOT_LEVELS),
    *((POWER_LEVELS, {"users": {user_id: 1}}, f"users.{user_id}: not a valid user id")
      for user_id in ("", "alice", "@alice", "alice:cn.localhost", "@alice:", "@alice:a b", "@a:b:c:d", "@al\0ice:b")),
    (POWER_LEVELS, {"users": {"@" + "a" * 300 + ":b": 1}}, "users.@" + "a" * 254 + "…: not a valid user id"),
    (JOIN_RULES, {}, "join_rule: one of public, invite, knock, restricted, knock_restricted, private"),
    (JOIN_RULES, {"join_rule": 7}, "join_rule: one of"),
    (HISTORY_VISIBILITY, {"history_visibility": "nobody"},
     "history_visibility: one of world_readable, shared, invited, joined"),
    (GUEST_ACCESS, {"guest_access": True}, "guest_access: one of can_join, forbidden"),
    (ENCRYPTION, {}, "algorithm: must be a string"),
    (ENCRYPTION, {"algorithm": 1}, "algorithm: must be a string"),
    (TOMBSTONE, {"body": "gone"}, "replacement_room: must be a string"),
    (TOMBSTONE, {"replacement_room": "!there", "body": 1}, "body: must be a string"),
    (CREATE, {"room_version": 11}, "room_version: must be a string"),
    (CREATE, {"room_version": "10"}, "creator: must be the user id"),
    (CREATE, {"room_version": "10", "creator": 1}, "creator: must be the user id"),
    (CREATE, {"room_version": "11", "m.federate": "no"}, "m.federate: must be true or false"),
    (CREATE, {"room_version": "11", "type": 1}, "type: must be a string"),
    (CREATE, {"room_version": "11", "predecessor": "!there"}, "predecessor: must be an object with a room_id"),
    (CREATE, {"room_version": "11", "predecessor": {"room_id": 1}}, "predecessor: must be an object with a room_id"),
    (CREATE, {"room_version": "12", "additional_creators": ALICE}, "additional_creators: must be a list"),
    (CREATE, {"room_version": "12", "additional_creators": [ALICE, 1]}, "additional_creators[1]: not a valid user id"),
    (CREATE, {"room_version": "12", "additional_creators": ["bob"]}, "additional_creators[0]: not a valid user id"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "content", "message"), BAD)
def test_what_is_refused(type: TypeCode, content: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJson) as caught:
        read(type, content)
    assert caught.value.message.startswith(message)
    assert (caught.value.status, caught.value.errcode) == (400, "M_BAD_JSON")


@pytest.mark.parametrize("version", ["1", "9", "13", "", "10 ", "org.example"])
def test_other_room_versions_are_named_as_such(version: str) -> None:
    with pytest.raises(BadJson, match="this server has versions 10, 11, 12") as caught:
        parse_create({"room_version": version}, RESOLVER)
    assert caught.value.errcode == "M_UNSUPPORTED_ROOM_VERSION"


def test_a_create_event_without_version_is_of_version_1() -> None:
    with pytest.raises(BadJson) as caught:
        parse_create({}, RESOLVER)
    assert caught.value.errcode == "M_UNSUPPORTED_ROOM_VERSION"
    assert [parse_version(str(version)) for version in VERSIONS] == list(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_other_types_have_no_record(version: Version) -> None:
    for type in (NAME, MESSAGE, TypeCode(-11)):
        assert parse(version, type, {"users": 1}, RESOLVER) is None


def test_a_third_party_invitation_names_its_person_and_token() -> None:
    assert third_party_signed({"third_party_invite": {"signed": {"mxid": ALICE, "token": "t"}}}) == (ALICE, "t")


@pytest.mark.parametrize(
    "text",
    ["@alice:cn.localhost", "@a:b:8448", "@:empty.localpart", "@Upper_Case é:x.org", "@a:[::1]:80", "@a:1.2.3.4",
     "@" + "a" * 252 + ":b"],
)  # fmt: skip
def test_valid_user_ids(text: str) -> None:
    assert is_user_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "@", "@a", "a:b", "@a:", "@a:b:", "@a:b:port", "@a:b:999999", "@a:b c", "@a:b\n", "@a\0:b", "@\ud800:b",
     "@a:[::1", "@a:bücher.example", "@" + "a" * 253 + ":b", "@" + "é" * 130 + ":b", None, 7, ["@a:b"]],
)  # fmt: skip
def test_invalid_user_ids(text: object) -> None:
    assert not is_user_id(text)


def test_what_has_to_be_resolved_first() -> None:
    power = {
        "users": {ALICE: 1, BOB: 2, "nobody": 3},
        "events": {"m.room.name": 1, "org.example.type": 2},
        "notifications": {"room": 1, "org.example.key": 2},
    }
    assert user_ids_in(POWER_LEVELS, power) == {ALICE, BOB}
    assert texts_in(POWER_LEVELS, power) == {"org.example.type", "org.example.key"}
    assert user_ids_in(POWER_LEVELS, power | {"users": [ALICE]}) == frozenset(), "refused anyway; nobody is looked up"
    create = {"room_version": "12", "additional_creators": [ALICE, 7, "x"], "type": "org.example.room"}
    assert user_ids_in(CREATE, create) == {ALICE}
    assert texts_in(CREATE, create) == {"org.example.room"}
    assert user_ids_in(CREATE, create | {"room_version": "11"}) == frozenset()
    assert texts_in(CREATE, {"type": "m.space"}) == frozenset()
    for type in STRUCTURAL - {POWER_LEVELS, CREATE}:
        assert user_ids_in(type, power | create) == frozenset()
        assert texts_in(type, power | create) == frozenset()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8),
              st.sampled_from([ALICE, "12", "join", "m.space", "!there", "restricted"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
FIELDS = st.sampled_from(
    ["membership", "users", "events", "notifications", "ban", "join_rule", "allow", "history_visibility",
     "guest_access", "algorithm", "replacement_room", "room_version", "creator", "additional_creators", "type",
     "predecessor", "m.federate", "third_party_invite", "reason", "is_direct", "join_authorised_via_users_server"]
)  # fmt: skip


@given(st.sampled_from(VERSIONS), st.sampled_from(sorted(STRUCTURAL)), st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_json_is_read_or_refused_with_a_field(version: Version, type: TypeCode, content: dict[str, Any]) -> None:
    """And what was collected beforehand is all that the parser asks for."""
    refs = {user_id: MemberRef(place) for place, user_id in enumerate(user_ids_in(type, content))}
    hashes = {text: -1 - place for place, text in enumerate(texts_in(type, content))}
    resolver = Resolver(ref=refs.__getitem__, hashed=hashes.__getitem__, room=ROOMS.get)
    try:
        change = parse(version, type, content, resolver)
    except BadJson as refused:
        field = refused.message.partition(":")[0].partition(".")[0].partition("[")[0]
        if field not in content:
            assert field in {"membership", "join_rule", "history_visibility", "guest_access", "algorithm",
                             "replacement_room", "room_version", "creator", "m"}  # fmt: skip
    else:
        assert change is not None
