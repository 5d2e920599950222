"""The typed projection: from change to change, and to bytes and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.ids import MemberRef, RegionNo
from hutong.rooms.event_types import (
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    NAME,
    NOTIFY_ROOM,
    POWER_LEVELS,
    TOMBSTONE,
    Algorithm,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
    Membership,
)
from hutong.rooms.projection import (
    LEVEL_MAX,
    Change,
    Create,
    Encryption,
    GuestRule,
    HistoryRule,
    JoinRules,
    MemberChange,
    PowerLevels,
    Projection,
    Tombstone,
    decode,
    decode_change,
    encode,
)
from tests.unit.rooms import strategies as any_
from tests.unit.rooms.people import BOB, FOUNDER, PARTNER, bare

ROOM_ID = bytes(range(16))


@given(any_.PROJECTIONS)
def test_any_projection_comes_back_from_its_bytes(room: Projection) -> None:
    raw = encode(room)
    assert decode(raw) == room
    assert encode(decode(raw)) == raw


@given(st.one_of(any_.CREATES, any_.CHANGES))
def test_any_change_comes_back_from_its_bytes(change: Change) -> None:
    again = decode_change(encode(change))
    assert again == change
    assert type(again) is type(change)


@pytest.mark.parametrize(
    ("change", "wire"),
    [
        (Create(version=12, federate=False, room_type=1, predecessor=ROOM_ID, additional=(PARTNER.ref,)),
         [1, 12, False, 1, ROOM_ID, [101]]),
        (MemberChange(membership=Membership.BAN, third_party=True), [2, 5, True]),
        (PowerLevels(users={BOB.ref: 1}, events={NAME: 2}, notifications={NOTIFY_ROOM: 3}, users_default=4,
                     events_default=5, state_default=6, ban=7, kick=8, redact=9, invite=10),
         [3, {1: 1}, {10: 2}, {1: 3}, 4, 5, 6, 7, 8, 9, 10]),
        (JoinRules(rule=JoinRule.RESTRICTED, allowed=(ROOM_ID,)), [4, 4, [ROOM_ID]]),
        (HistoryRule(visibility=HistoryVisibility.JOINED), [5, 4]),
        (GuestRule(access=GuestAccess.FORBIDDEN), [6, 2]),
        (Encryption(algorithm=Algorithm.OTHER), [7, 2]),
        (Tombstone(replacement=ROOM_ID), [8, ROOM_ID]),
    ],
)  # fmt: skip
def test_the_wire_form_stays_as_it_is(change: Change, wire: list[object]) -> None:
    """It lies in databases and travels between regions that are not upgraded together."""
    assert encode(change) == msgspec.msgpack.encode(wire)
    assert decode_change(msgspec.msgpack.encode(wire)) == change


def plain(room: Projection) -> list[object]:
    return msgspec.msgpack.decode(encode(room), type=list[object])


POWER = [3, {1: 50}, {}, {}, None, None, None, None, None, None, None]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(0, 9, id="a version that is not served"),
        pytest.param(0, "11", id="a text for a number"),
        pytest.param(2, [], id="no creator"),
        pytest.param(2, ["@a:b"], id="a user id for a ref"),
        pytest.param(3, 1, id="a number for a flag"),
        pytest.param(4, "m.space", id="a text for a room type"),
        pytest.param(5, b"short", id="a room id that is too short"),
        pytest.param(6, [*POWER[:1], {"@a:b": 50}, *POWER[2:]], id="a user id among the users"),
        pytest.param(6, [*POWER[:2], {"m.room.name": 50}, *POWER[3:]], id="a text among the events"),
        pytest.param(6, [*POWER[:1], {1: LEVEL_MAX + 1}, *POWER[2:]], id="a level too high"),
        pytest.param(6, [*POWER[:4], -LEVEL_MAX - 1, *POWER[5:]], id="a level too low"),
        pytest.param(6, [*POWER, 1], id="power levels with a field too many"),
        pytest.param(6, [4, *POWER[1:]], id="power levels under another tag"),
        pytest.param(7, [4, 7, []], id="a join rule that does not exist"),
        pytest.param(8, 0, id="a visibility that does not exist"),
        pytest.param(10, "m.megolm.v1.aes-sha2", id="a text for an algorithm"),
    ],
)
def test_the_decoder_takes_nothing_else(place: int, value: object) -> None:
    values = plain(bare(11).apply(PowerLevels()))
    assert decode(msgspec.msgpack.encode(values)) == bare(11).apply(PowerLevels())
    values[place] = value
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode(values))


@pytest.mark.parametrize("raw", [b"", b"\xc0", b"{}", encode(bare(12))[:-1], encode(bare(12)) + b"\x00"])
def test_the_decoder_takes_no_other_bytes(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(raw)


def test_a_created_room_has_the_defaults_of_the_specification() -> None:
    room = bare(11)
    assert room.join_rule == JoinRule.INVITE
    assert room.history == HistoryVisibility.SHARED
    assert room.guests == GuestAccess.FORBIDDEN
    assert not room.encrypted
    assert not room.is_space
    assert room.power is None


def test_only_version_12_has_more_than_one_creator() -> None:
    create = Create(version=12, additional=(PARTNER.ref, FOUNDER.ref, MemberRef(-5), PARTNER.ref))
    room = Projection.created(create, FOUNDER.ref, RegionNo(3))
    assert room.creators == (FOUNDER.ref, MemberRef(-5), PARTNER.ref)  # the sender first, then the others, once each
    assert room.origin == 3
    assert all(map(room.outranks_all, room.creators))
    assert not room.outranks_all(BOB.ref)
    older = Projection.created(msgspec.structs.replace(create, version=11), FOUNDER.ref, RegionNo(3))
    assert older.creators == (FOUNDER.ref,)
    assert not older.outranks_all(FOUNDER.ref)


CHANGED: list[tuple[Change, str, object]] = [
    (PowerLevels(ban=3), "power", PowerLevels(ban=3)),
    (JoinRules(rule=JoinRule.RESTRICTED, allowed=(ROOM_ID,)), "join_rules",
     JoinRules(rule=JoinRule.RESTRICTED, allowed=(ROOM_ID,))),
    (HistoryRule(visibility=HistoryVisibility.JOINED), "visibility", HistoryVisibility.JOINED),
    (GuestRule(access=GuestAccess.CAN_JOIN), "guest_access", GuestAccess.CAN_JOIN),
    (Encryption(algorithm=Algorithm.OTHER), "algorithm", Algorithm.OTHER),
    (Tombstone(replacement=ROOM_ID), "tombstone", Tombstone(replacement=ROOM_ID)),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "value"), CHANGED)
def test_a_change_replaces_its_own_field_and_no_other(change: Change, field: str, value: object) -> None:
    room = bare(12)
    after = room.apply(change)
    for each in Projection.__struct_fields__:
        assert getattr(after, each) == (value if each == field else getattr(room, each))
    assert room == bare(12)


def test_a_change_of_membership_leaves_the_projection_alone() -> None:
    assert bare(12).apply(MemberChange(membership=Membership.BAN)) == bare(12)


def test_a_room_is_not_created_twice() -> None:
    with pytest.raises(AssertionError, match="created once"):
        bare(12).apply(Create(version=12))


def test_after_a_redaction_governs_what_the_version_keeps() -> None:
    power = PowerLevels(users={BOB.ref: 1}, ban=2, invite=30, notifications={NOTIFY_ROOM: 5})
    pruned = PowerLevels(users={BOB.ref: 1}, ban=2)
    assert bare(10).apply(power).redacted(POWER_LEVELS).power == pruned
    for version in (11, 12):
        redacted = bare(version).apply(power).redacted(POWER_LEVELS).power
        assert redacted == msgspec.structs.replace(pruned, invite=30)
    for change, field, _ in CHANGED:
        room = bare(11).apply(change)
        for type in (JOIN_RULES, HISTORY_VISIBILITY, ENCRYPTION, NAME):  # nothing that governs is in what they lose
            assert room.redacted(type) == room
        gone = {GUEST_ACCESS: "guest_access", TOMBSTONE: "tombstone"}
        for type, lost in gone.items():
            assert room.redacted(type) == (bare(11) if lost == field else room)


@given(any_.PROJECTIONS, any_.TYPES)
def test_a_second_redaction_takes_nothing_more(room: Projection, type: int) -> None:
    once = room.redacted(type)  # type: ignore[arg-type]
    assert once.redacted(type) == once  # type: ignore[arg-type]
