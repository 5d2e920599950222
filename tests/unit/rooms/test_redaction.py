"""What a redaction keeps, key by key from the specification's lists; what is written for somebody erased."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.ids import MemberRef, RegionNo, TypeCode
from hutong.rooms.event_types import (
    CREATE,
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEMBER,
    MESSAGE,
    NAME,
    POWER_LEVELS,
    SPACE_ROOM,
    STRUCTURAL,
    TOMBSTONE,
    Membership,
    text_of,
)
from hutong.rooms.projection import VERSIONS, Create, Projection, Version
from hutong.rooms.redaction import Names, content_from_projection, redacted_content, redacted_event, refs_in
from hutong.rooms.structural import Resolver, parse
from tests.unit.rooms import strategies as any_
from tests.unit.rooms.people import FOUNDER, PARTNER, bare

FROM_11: tuple[Version, ...] = (11, 12)
POWER_KEYS = ["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"]
KEPT: list[tuple[tuple[Version, ...], str, list[str]]] = [
    (VERSIONS, "m.room.member", ["membership", "join_authorised_via_users_server"]),
    ((10,), "m.room.create", ["creator"]),
    (VERSIONS, "m.room.join_rules", ["join_rule", "allow"]),
    ((10,), "m.room.power_levels", POWER_KEYS),
    (FROM_11, "m.room.power_levels", [*POWER_KEYS, "invite"]),
    (VERSIONS, "m.room.history_visibility", ["history_visibility"]),
    ((10,), "m.room.redaction", []),
    (FROM_11, "m.room.redaction", ["redacts"]),
    *((VERSIONS, type, []) for type in (
        "m.room.aliases", "m.room.name", "m.room.topic", "m.room.message", "m.room.encrypted", "m.room.encryption",
        "m.room.guest_access", "m.room.tombstone", "m.room.third_party_invite", "m.reaction", "org.example.own")),
]  # fmt: skip
SOME_OF_ALL = {
    key: f"the value of {key}"
    for key in [*POWER_KEYS, "invite", "membership", "join_authorised_via_users_server", "creator", "join_rule",
                "allow", "history_visibility", "redacts", "aliases", "body", "notifications", "displayname", "reason",
                "room_version", "algorithm", "guest_access", "replacement_room", "org.example.own"]
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "type", "kept"),
    [pytest.param(v, type, kept, id=f"v{v}-{type}") for versions, type, kept in KEPT for v in versions],
)
def test_content_keeps(version: Version, type: str, kept: list[str]) -> None:
    assert redacted_content(version, type, SOME_OF_ALL) == {key: SOME_OF_ALL[key] for key in kept}


@pytest.mark.parametrize("version", FROM_11)
def test_create_keeps_all_from_version_11(version: Version) -> None:
    assert redacted_content(version, "m.room.create", SOME_OF_ALL) == SOME_OF_ALL


def test_of_a_third_party_invite_the_signed_part_stays_from_version_11() -> None:
    content = {"membership": "invite", "third_party_invite": {"display_name": "al...", "signed": {"token": "t"}}}
    kept = {"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}}
    assert redacted_content(10, "m.room.member", content) == {"membership": "invite"}
    for version in FROM_11:
        assert redacted_content(version, "m.room.member", content) == kept
        odd_ones: list[Any] = [{"display_name": "al..."}, "text", None, []]
        for odd in odd_ones:
            assert redacted_content(version, "m.room.member", {"third_party_invite": odd}) == {}


TOP_11 = {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
          "prev_events", "auth_events", "origin_server_ts"}  # fmt: skip
TOP = {10: TOP_11 | {"prev_state", "origin", "membership"}, 11: TOP_11, 12: TOP_11}


@pytest.mark.parametrize("version", VERSIONS)
def test_top_level_keeps(version: Version) -> None:
    keys = TOP[10] | {"redacts", "unsigned", "age_ts", "org.example.own"}
    event: dict[str, Any] = {key: key for key in keys} | {"type": "m.room.message", "content": {"body": "words"}}
    assert redacted_event(version, event) == {key: event[key] for key in TOP[version]} | {"content": {}}


@given(
    st.sampled_from(VERSIONS),
    st.sampled_from([type for _, type, _ in KEPT] + ["m.room.create"]),
    st.dictionaries(
        st.sampled_from([*SOME_OF_ALL, "third_party_invite"]),
        st.one_of(st.none(), st.text(max_size=3), st.just({"signed": {}, "display_name": "x"})),
    ),
)
def test_again_redacted_nothing_more_is_lost(version: Version, type: str, content: dict[str, Any]) -> None:
    before = dict(content)
    once = redacted_content(version, type, content)
    assert redacted_content(version, type, once) == once
    assert once.items() <= content.items() or "third_party_invite" in once
    assert content == before


def user_id(ref: MemberRef) -> str:
    return f"@u{ref}:cn.localhost"


def room_id(raw: bytes) -> str:
    return f"!{raw.hex()}:cn.localhost"


NAMES = Names(user_id=user_id, room_id=room_id)
RESOLVER = Resolver(
    ref=lambda text: MemberRef(int(text[2:].partition(":")[0])),
    hashed=lambda text: -1,
    room=lambda text: bytes.fromhex(text[1:].partition(":")[0]),
)
CONTENTS: list[tuple[TypeCode, dict[str, Any]]] = [
    (POWER_LEVELS, {"users": {"@u1:cn.localhost": 50}, "events": {"m.room.name": 60}, "ban": 70, "invite": 1, "kick": 0,
                    "redact": 4, "users_default": -5, "events_default": 6, "state_default": 7,
                    "notifications": {"room": 20}}),
    (POWER_LEVELS, {"users": {}, "events": {}}),
    (JOIN_RULES, {"join_rule": "knock"}),
    (JOIN_RULES, {"join_rule": "restricted",
                  "allow": [{"type": "m.room_membership", "room_id": room_id(bytes(range(16)))}]}),
    (HISTORY_VISIBILITY, {"history_visibility": "joined"}),
    (GUEST_ACCESS, {"guest_access": "can_join"}),
    (ENCRYPTION, {"algorithm": "m.megolm.v1.aes-sha2"}),
    (TOMBSTONE, {"replacement_room": room_id(bytes(range(16))), "body": ""}),
]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("type", "content"), CONTENTS)
def test_what_governs_outlives_the_words(version: Version, type: TypeCode, content: dict[str, Any]) -> None:
    change = parse(version, type, content, RESOLVER)
    assert change is not None
    room = bare(version).apply(change)
    written = content_from_projection(type, room, NAMES)
    assert written == content
    assert parse(version, type, written, RESOLVER) == change
    kept = redacted_content(version, text_of(type) or "", content)
    assert kept.items() <= written.items()


def test_create_is_written_anew_in_the_form_of_its_version() -> None:
    assert content_from_projection(CREATE, bare(10), NAMES) == {
        "room_version": "10",
        "creator": user_id(FOUNDER.ref),
    }
    assert content_from_projection(CREATE, bare(11), NAMES) == {"room_version": "11"}
    assert content_from_projection(CREATE, bare(12), NAMES) == {
        "room_version": "12",
        "additional_creators": [user_id(PARTNER.ref)],
    }
    create = Create(version=11, federate=False, room_type=SPACE_ROOM, predecessor=bytes(16))
    assert content_from_projection(CREATE, Projection.created(create, FOUNDER.ref, RegionNo(1)), NAMES) == {
        "room_version": "11",
        "m.federate": False,
        "type": "m.space",
        "predecessor": {"room_id": room_id(bytes(16))},
    }


def test_texts_of_ones_own_go_with_their_author() -> None:
    content = {"events": {"org.example.own": 50, "m.room.name": 1}, "notifications": {"org.example.own": 7}}
    change = parse(11, POWER_LEVELS, content, RESOLVER)
    assert change is not None
    assert content_from_projection(POWER_LEVELS, bare(11).apply(change), NAMES) == {
        "users": {},
        "events": {"m.room.name": 1},
    }


def test_membership_stays_and_messages_do_not() -> None:
    for membership in Membership:
        assert content_from_projection(MEMBER, bare(11), NAMES, membership) == {"membership": membership.text}
    for type in (MESSAGE, NAME, TypeCode(-5), *STRUCTURAL - {CREATE, MEMBER}):
        assert content_from_projection(type, bare(11), NAMES) == {}
        assert refs_in(type, bare(11)) == frozenset()


@given(any_.PROJECTIONS, st.sampled_from([CREATE, POWER_LEVELS, JOIN_RULES, TOMBSTONE, ENCRYPTION, MEMBER]))
def test_only_the_announced_names_are_asked_for(room: Projection, type: TypeCode) -> None:
    announced = refs_in(type, room)
    asked: set[MemberRef] = set()

    def name(ref: MemberRef) -> str:
        asked.add(ref)
        return user_id(ref)

    content_from_projection(type, room, Names(user_id=name, room_id=room_id))
    assert asked <= announced
