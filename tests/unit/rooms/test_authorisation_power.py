"""The rules about everything but membership, case by case; the id of a case is the rule's number."""

from typing import Any

import pytest
from msgspec import structs

from hutong.ids import StateKeyCode, TypeCode
from hutong.rooms.authorisation import (
    INFINITE,
    Member,
    Proposed,
    Refused,
    anybody_invites,
    authorise,
    check_redaction,
    inviters,
    level_needed,
    level_of,
    may_invite,
    may_notify_room,
)
from hutong.rooms.event_types import (
    CREATE,
    ENCRYPTED,
    JOIN_RULES,
    MESSAGE,
    NAME,
    NOTIFY_ROOM,
    POWER_LEVELS,
    REDACTION,
    THIRD_PARTY_INVITE,
    TOPIC,
)
from hutong.rooms.projection import VERSIONS, PowerLevels, Version
from tests.unit.rooms.people import (
    ADMIN,
    BAN,
    BOB,
    CAROL,
    FOUNDER,
    INVITE,
    KNOCK,
    LEAVE,
    LEVELS,
    LOW,
    MODERATOR,
    OTHER_MODERATOR,
    PARTNER,
    bare,
    governed,
    now,
    sets,
)
from tests.unit.rooms.test_authorisation_membership import BEFORE_12, FROM_12, Case, case_rows, judge

MINE = TypeCode(-4711)  # an event type that the specification does not name
SAY = Proposed(type=MESSAGE)
KEYED = Proposed(type=MINE, state_key=StateKeyCode(BOB.ref), names_user=True)
POWER = PowerLevels(
    users=LEVELS,
    events={NAME: 60, MESSAGE: 10, MINE: 20, REDACTION: 5, POWER_LEVELS: 40},
    events_default=1,
    state_default=30,
)
HASH_KEY = Proposed(type=MINE, state_key=StateKeyCode(-9), names_user=True)  # "@" and something that is no user id

EVENTS = [
    *(
        Case("5", "6", f"a message when {m.text}", now(BOB, m), SAY, refused="not a joined member")
        for m in (INVITE, KNOCK, LEAVE, BAN)
    ),
    Case("5", "6", "state, by an admin who left", now(ADMIN, LEAVE), sets(NAME), refused="not a joined member"),
    Case("5", "6", "an invitation by mail, not joined", now(ADMIN, LEAVE), sets(THIRD_PARTY_INVITE),
         refused="not a joined member"),
    Case("6.1", "7.1", "below the invite level", BOB, sets(THIRD_PARTY_INVITE), power=PowerLevels(invite=1),
         refused="power level 1 to invite; yours is 0"),
    Case("6.1", "7.1", "at the invite level", BOB, sets(THIRD_PARTY_INVITE)),
    Case("6.1", "7.1", "the level of state does not matter", BOB, sets(THIRD_PARTY_INVITE),
         power=PowerLevels(events={THIRD_PARTY_INVITE: 99}, state_default=99)),
    Case("10", "11", "a message by default", BOB, SAY),
    Case("7", "8", "a message below the default", LOW, SAY,
         refused="power level 0 to send m.room.message; yours is -5"),
    Case("7", "8", "state by default", BOB, sets(TOPIC), refused="power level 50 to set m.room.topic; yours is 0"),
    Case("10", "11", "state by default, by a moderator", MODERATOR, sets(TOPIC)),
    Case("7", "8", "events_default", BOB, Proposed(type=ENCRYPTED), power=POWER,
         refused="power level 1 to send m.room.encrypted"),
    Case("7", "8", "an entry for a message", BOB, SAY, power=POWER, refused="power level 10 to send m.room.message"),
    Case("7", "8", "an entry for state", MODERATOR, sets(NAME), power=POWER,
         refused="power level 60 to set m.room.name; yours is 50"),
    Case("7", "8", "an entry for a type of one's own", BOB, sets(MINE), power=POWER,
         refused="power level 20 to set this type of state; yours is 0"),
    Case("7", "8", "an entry holds for a message of that type too", BOB, Proposed(type=MINE), power=POWER,
         refused="power level 20 to send this type of event; yours is 0"),
    Case("10", "11", "state_default", MODERATOR, sets(TOPIC), power=POWER),
    Case("7", "8", "a redaction is an event like others", BOB, Proposed(type=REDACTION), power=POWER,
         refused="power level 5 to send m.room.redaction"),
    Case("7", "8", "join rules by default", BOB, sets(JOIN_RULES), refused="power level 50"),
    Case("10", "11", "an admin's name", ADMIN, sets(NAME), power=POWER),
    Case("10", "11", "a creator needs no level", PARTNER, sets(NAME), versions=FROM_12,
         power=PowerLevels(events={NAME: 2**53 - 1})),
    Case("7", "8", "a partner before version 12 has no level", PARTNER, sets(NAME), versions=BEFORE_12,
         refused="yours is 0"),
    Case("8", "9", "another user's state key", CAROL, KEYED, power=PowerLevels(state_default=0), refused="only they"),
    Case("8", "9", "another user's state key, an admin", ADMIN, KEYED, refused="only they"),
    Case("8", "9", "another user's state key, a founder", FOUNDER, KEYED, refused="only they"),
    Case("8", "9", "starts with @, is no user id", ADMIN, HASH_KEY, refused="only they"),
    Case("10", "11", "one's own state key", BOB, KEYED, power=PowerLevels(state_default=0)),
    Case("7", "8", "one's own state key, level not reached", BOB, KEYED, refused="power level 50"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "case"), case_rows(EVENTS))
def test_events(version: Version, case: Case) -> None:
    judge(version, case, governed(version, case.power))


OLD = PowerLevels(
    users=LEVELS,
    events={NAME: 60, TOPIC: 50, MINE: 20},
    notifications={NOTIFY_ROOM: 60, -3: 20},
    users_default=0,
    events_default=60,
    state_default=50,
    kick=60,
    ban=50,
    invite=10,
)  # `redact` is absent: 50


def change(sender: Member, refused: Any = None, **fields: Any) -> dict[str, Any]:
    event = sets(POWER_LEVELS, structs.replace(OLD, **fields))
    return {"sender": sender, "event": event, "power": OLD, "refused": refused}


def users(**changed: int | None) -> dict[Any, int]:
    """The users of OLD with some entries changed, added, or (None) removed."""
    refs = {"admin": ADMIN.ref, "moderator": MODERATOR.ref, "other": OTHER_MODERATOR.ref, "bob": BOB.ref,
            "low": LOW.ref, "founder": FOUNDER.ref, "partner": PARTNER.ref}  # fmt: skip
    merged = LEVELS | {refs[name]: level for name, level in changed.items()}
    return {ref: level for ref, level in merged.items() if level is not None}


FIELDS = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]

CHANGES = [
    Case("9.3", "10.3", "as a message", ADMIN, Proposed(type=POWER_LEVELS), refused="with an empty state key"),
    Case("9.3", "10.3", "with another state key", FOUNDER,
         Proposed(type=POWER_LEVELS, state_key=StateKeyCode(-9)), refused="with an empty state key"),
    Case("5", "6", "as a message, not joined", now(ADMIN, LEAVE), Proposed(type=POWER_LEVELS), refused="not a joined"),
    Case("7", "8", "by somebody without the level for it", **change(BOB, "to set m.room.power_levels", ban=0)),
    Case("9.10", "10.10", "nothing changes", **change(MODERATOR)),
    Case("9.3", "10.4", "a creator has an entry", **change(FOUNDER, "cannot have an entry", users=users(founder=100)),
         versions=FROM_12),
    Case("9.3", "10.4", "a creator has an entry, as before", PARTNER, sets(POWER_LEVELS, PowerLevels(users={
        PARTNER.ref: 0})), power=PowerLevels(users={PARTNER.ref: 0}), refused="cannot have an entry", versions=FROM_12),
    Case("9.10", "10.10", "the founder before version 12 has an entry", **change(ADMIN, users=users(founder=100)),
         versions=BEFORE_12),
    *(
        row
        for field in FIELDS
        for row in (
            Case("9.10", "10.10", f"{field} to one's own", **change(ADMIN, **{field: 100})),
            Case("9.10", "10.10", f"{field} removed by an admin", **change(ADMIN, **{field: None})),
        )
    ),
    *(
        Case("9.5.2", "10.6.2", f"{field} above one's own", **change(
            MODERATOR, f"{field}: you cannot set power level 51; yours is 50", **{field: 51}))
        for field in FIELDS if field not in {"events_default", "kick"}  # those are above one's own already
    ),
    Case("9.5.1", "10.6.1", "lowering what is above one's own",
         **change(MODERATOR, "power level 60 to change kick; yours is 50", kick=50)),
    Case("9.5.1", "10.6.1", "removing what is above one's own",
         **change(MODERATOR, "power level 60 to change events_default; yours is 50", events_default=None)),
    Case("9.10", "10.10", "lowering what equals one's own", **change(MODERATOR, ban=0)),
    Case("9.10", "10.10", "adding what was absent", **change(MODERATOR, redact=10)),
    Case("9.5.2", "10.6.2", "adding what was absent, above one's own",
         **change(MODERATOR, "redact: you cannot set power level 51", redact=51)),
    Case("9.6.1", "10.7.1", "an entry of events above one's own, lowered",
         **change(MODERATOR, "power level 60 to change an entry of events", events={NAME: 50, TOPIC: 50, MINE: 20})),
    Case("9.6.1", "10.7.1", "an entry of events above one's own, removed",
         **change(MODERATOR, "power level 60 to change an entry of events", events={TOPIC: 50, MINE: 20})),
    Case("9.10", "10.10", "an entry of events at one's own, removed",
         **change(MODERATOR, events={NAME: 60, MINE: 20})),
    Case("9.7.1", "10.8.1", "an entry of events raised above one's own",
         **change(MODERATOR, "events: you cannot set power level 51", events={NAME: 60, TOPIC: 51, MINE: 20})),
    Case("9.7.1", "10.8.1", "an entry of events added above one's own",
         **change(MODERATOR, "events: you cannot set power level 51", events=OLD.events | {MESSAGE: 51})),
    Case("9.10", "10.10", "an entry of events added at one's own",
         **change(MODERATOR, events=OLD.events | {MESSAGE: 50})),
    Case("9.7.1", "10.8.1", "an entry for a type of one's own, raised",
         **change(MODERATOR, "events: you cannot set power level 51", events=OLD.events | {MINE: 51})),
    Case("9.6.1", "10.7.1", "an entry of notifications above one's own, lowered",
         **change(MODERATOR, "power level 60 to change an entry of notifications",
                  notifications={NOTIFY_ROOM: 1, -3: 20})),
    Case("9.6.1", "10.7.1", "an entry of notifications above one's own, removed",
         **change(MODERATOR, "power level 60 to change an entry of notifications", notifications={-3: 20})),
    Case("9.7.1", "10.8.1", "an entry of notifications added above one's own",
         **change(MODERATOR, "notifications: you cannot set power level 99",
                  notifications=OLD.notifications | {-4: 99})),
    Case("9.10", "10.10", "an entry of notifications below one's own, removed",
         **change(MODERATOR, notifications={NOTIFY_ROOM: 60})),
    Case("9.8.1", "10.9.1", "an equal demoted",
         **change(MODERATOR, "only change the level of those below yours, which is 50", users=users(other=0))),
    Case("9.8.1", "10.9.1", "an equal removed", **change(MODERATOR, "below yours", users=users(other=None))),
    Case("9.8.1", "10.9.1", "an equal raised", **change(MODERATOR, "below yours", users=users(other=100))),
    Case("9.8.1", "10.9.1", "a superior demoted", **change(MODERATOR, "below yours", users=users(admin=0))),
    Case("9.8.1", "10.9.1", "a superior removed", **change(MODERATOR, "below yours", users=users(admin=None))),
    Case("9.10", "10.10", "oneself demoted", **change(MODERATOR, users=users(moderator=10))),
    Case("9.10", "10.10", "oneself removed", **change(MODERATOR, users=users(moderator=None))),
    Case("9.9.1", "10.10.1", "oneself raised", **change(MODERATOR, "you cannot set power level 51",
                                                        users=users(moderator=51))),
    Case("9.9.1", "10.10.1", "somebody added above one's own", **change(MODERATOR, "you cannot set power level 51",
                                                                         users=users(bob=51))),
    Case("9.10", "10.10", "somebody added at one's own", **change(MODERATOR, users=users(bob=50))),
    Case("9.10", "10.10", "somebody below raised to one's own", **change(MODERATOR, users=users(low=50))),
    Case("9.9.1", "10.10.1", "somebody below raised above", **change(MODERATOR, "you cannot set power level 51",
                                                                      users=users(low=51))),
    Case("9.10", "10.10", "somebody below removed", **change(MODERATOR, users=users(low=None))),
    Case("9.10", "10.10", "a creator gives anybody anything", **change(PARTNER, users={ADMIN.ref: 2**53 - 1}),
         versions=FROM_12),
    Case("9.10", "10.10", "a creator demotes an admin of the highest level", PARTNER,
         sets(POWER_LEVELS, PowerLevels()), power=PowerLevels(users={ADMIN.ref: 2**53 - 1}), versions=FROM_12),
]  # fmt: skip


@pytest.mark.parametrize(("version", "case"), case_rows(CHANGES))
def test_changes_of_power_levels(version: Version, case: Case) -> None:
    judge(version, case, governed(version, case.power))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_power_levels_may_say_anything(version: Version) -> None:
    """9.4 (10.5): only who may set them at all is asked."""
    wild = sets(POWER_LEVELS, PowerLevels(users={BOB.ref: 2**53 - 1}, ban=10**9))
    authorise(bare(version), FOUNDER, wild)
    with pytest.raises(Refused, match=r"power level 50 to set m\.room\.power_levels; yours is 0"):
        authorise(bare(version), BOB, wild)


def test_the_first_power_levels_of_version_12_name_no_creator() -> None:
    for creator in (FOUNDER, PARTNER):
        with pytest.raises(Refused, match="infinite power") as caught:
            authorise(bare(12), FOUNDER, sets(POWER_LEVELS, PowerLevels(users={creator.ref: 100})))
        assert caught.value.rule == "10.4"


@pytest.mark.parametrize("version", VERSIONS)
def test_stricter_than_the_text_nobody_lifts_themselves_by_removing_the_entry_that_holds_them_down(
    version: Version,
) -> None:
    held = PowerLevels(users={BOB.ref: 10, LOW.ref: 5}, users_default=100, events={POWER_LEVELS: 10})
    room = governed(version, held)
    for removed in (BOB.ref, LOW.ref):
        left = {ref: level for ref, level in held.users.items() if ref != removed}
        with pytest.raises(Refused, match="you cannot set power level 100; yours is 10"):
            authorise(room, BOB, sets(POWER_LEVELS, structs.replace(held, users=left)))
        authorise(room, FOUNDER, sets(POWER_LEVELS, structs.replace(held, users=left)))


def test_levels_without_power_levels() -> None:
    for version in (10, 11):
        assert level_of(bare(version), FOUNDER.ref) == 100
        assert level_of(bare(version), PARTNER.ref) == 0
    assert level_of(bare(12), FOUNDER.ref) == level_of(bare(12), PARTNER.ref) == INFINITE
    for version in VERSIONS:
        room = bare(version)
        assert level_of(room, BOB.ref) == 0
        assert level_needed(room, NAME, is_state=True) == 50
        assert level_needed(room, MESSAGE, is_state=False) == 0
        assert may_invite(room, BOB)
        assert may_notify_room(room, FOUNDER.ref)
        assert not may_notify_room(room, BOB.ref)


def test_a_founder_before_version_12_is_as_the_power_levels_say() -> None:
    room = governed(11, PowerLevels(users_default=7))
    assert level_of(room, FOUNDER.ref) == 7
    assert level_of(governed(11, PowerLevels(users={FOUNDER.ref: 3})), FOUNDER.ref) == 3
    assert level_of(governed(12, PowerLevels(users_default=7)), FOUNDER.ref) == INFINITE


def test_who_may_invite_is_joined_and_has_the_level() -> None:
    room = governed(11, PowerLevels(users=LEVELS, invite=50))
    assert may_invite(room, MODERATOR)
    assert not may_invite(room, now(MODERATOR, LEAVE))
    assert not may_invite(room, BOB)


def test_who_can_vouch_for_a_restricted_join_is_asked_in_one_order_everywhere() -> None:
    levels = PowerLevels(users=LEVELS | {FOUNDER.ref: 100}, invite=50)
    assert inviters(governed(11, levels)) == [ADMIN.ref, FOUNDER.ref, MODERATOR.ref, OTHER_MODERATOR.ref]
    in_12 = inviters(governed(12, PowerLevels(users=LEVELS, invite=100)))
    assert in_12 == [FOUNDER.ref, PARTNER.ref, ADMIN.ref], "creators come first, whatever the level"
    assert not anybody_invites(governed(11, levels))
    assert anybody_invites(governed(11, PowerLevels(invite=5, users_default=5)))
    assert anybody_invites(bare(11))


@pytest.mark.parametrize("version", VERSIONS)
def test_notifying_the_room_takes_its_level(version: Version) -> None:
    assert may_notify_room(governed(version), MODERATOR.ref)
    assert not may_notify_room(governed(version), BOB.ref)
    low = governed(version, PowerLevels(notifications={NOTIFY_ROOM: 0, -1: 100}))
    assert may_notify_room(low, BOB.ref)


@pytest.mark.parametrize("version", VERSIONS)
def test_redaction_of_ones_own_and_of_others(version: Version) -> None:
    room = governed(version)
    check_redaction(room, BOB.ref, MESSAGE, BOB.ref)
    check_redaction(room, MODERATOR.ref, MESSAGE, BOB.ref)
    check_redaction(room, MODERATOR.ref, MESSAGE, ADMIN.ref)  # the level of the other is not asked
    check_redaction(room, FOUNDER.ref, MESSAGE, ADMIN.ref)
    with pytest.raises(Refused, match="power level 50 to redact others' events; yours is 0"):
        check_redaction(room, BOB.ref, MESSAGE, CAROL.ref)
    lowered = governed(version, PowerLevels(redact=0))
    check_redaction(lowered, BOB.ref, MESSAGE, CAROL.ref)
    with pytest.raises(Refused, match="cannot be redacted"):
        check_redaction(lowered, FOUNDER.ref, CREATE, FOUNDER.ref)
