"""The rules about `m.room.member` and `m.room.create`, case by case; the id of a case is the rule's number."""

from typing import Any, NamedTuple

import msgspec
import pytest

from hutong.ids import MemberRef, StateKeyCode
from hutong.rooms.authorisation import Member, Proposed, Refused, ThirdParty, authorise
from hutong.rooms.event_types import CREATE, MEMBER, MESSAGE, NAME, JoinRule, Membership
from hutong.rooms.projection import VERSIONS, Create, JoinRules, MemberChange, PowerLevels, Projection, Version
from tests.unit.rooms.people import (
    ADMIN,
    BAN,
    BOB,
    CAROL,
    CN,
    FOUNDER,
    INVITE,
    JOIN,
    KNOCK,
    LEAVE,
    LEVELS,
    LOW,
    MODERATOR,
    OTHER_MODERATOR,
    PARTNER,
    bare,
    governed,
    moves,
    now,
    sets,
)

ALL = VERSIONS
BEFORE_12: tuple[Version, ...] = (10, 11)
FROM_12: tuple[Version, ...] = (12,)


class Case(NamedTuple):
    """`rule` of versions 10 and 11, `rule_12` of version 12; `refused`: a part of the message, None when allowed."""

    rule: str
    rule_12: str
    title: str
    sender: Member
    event: Proposed
    target: Member | None = None
    refused: str | None = None
    join_rule: JoinRule = JoinRule.INVITE
    power: PowerLevels | None = None
    also: dict[str, Any] = {}  # noqa: RUF012
    versions: tuple[Version, ...] = ALL


def case_rows(cases: list[Case]) -> list[Any]:
    return [
        pytest.param(version, case, id=f"v{version}-{case.rule_12 if version >= 12 else case.rule}-{case.title}")
        for case in cases
        for version in case.versions
    ]


def judge(version: Version, case: Case, room: Projection) -> None:
    """Run a case. What is refused is refused by the rule that the case names, for the reason that it says."""
    before = msgspec.msgpack.encode(room)
    if case.refused is None:
        authorise(room, case.sender, case.event, case.target, **case.also)
    else:
        with pytest.raises(Refused) as caught:
            authorise(room, case.sender, case.event, case.target, **case.also)
        assert caught.value.rule == (case.rule_12 if version >= 12 else case.rule)
        assert case.refused in caught.value.message
        assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")
    assert msgspec.msgpack.encode(room) == before


def of(member: Member, was: Membership, becomes: Membership, by: Member | None = None) -> dict[str, Any]:
    """`member`, until now `was`, is to become `becomes`, by themselves or by somebody else."""
    target = now(member, was)
    return {"sender": by or target, "event": moves(target, becomes), "target": target}


INVITER = {"authoriser": MODERATOR}
INVITE_50 = PowerLevels(users=LEVELS, invite=50)

JOINS = [
    Case("4.3.1", "5.3.1", "the founder joins right after the creation", now(FOUNDER, LEAVE),
         Proposed(type=MEMBER, state_key=StateKeyCode(FOUNDER.ref), names_user=True, follows_create=True,
                  change=MemberChange(membership=JOIN)), now(FOUNDER, LEAVE)),
    Case("4.3.7", "5.3.7", "the founder, having left, joins again", **of(FOUNDER, LEAVE, JOIN), refused="invite"),
    Case("4.3.7", "5.3.7", "another creator has to be invited too", **of(PARTNER, LEAVE, JOIN), refused="invite"),
    Case("4.3.2", "5.3.2", "for somebody else", **of(CAROL, LEAVE, JOIN, by=ADMIN), refused="invite them"),
    Case("4.3.2", "5.3.2", "for an invited person", **of(CAROL, INVITE, JOIN, by=ADMIN), refused="for somebody else"),
    Case("4.3.3", "5.3.3", "banned, public room", **of(BOB, BAN, JOIN), refused="banned", join_rule=JoinRule.PUBLIC),
    Case("4.3.3", "5.3.3", "banned, invite room", **of(BOB, BAN, JOIN), refused="banned"),
    Case("4.3.3", "5.3.3", "banned, restricted", **of(BOB, BAN, JOIN), refused="banned",
         join_rule=JoinRule.RESTRICTED, also=INVITER),
    Case("4.3.4", "5.3.4", "invited, invite", **of(BOB, INVITE, JOIN)),
    Case("4.3.4", "5.3.4", "invited, knock", **of(BOB, INVITE, JOIN), join_rule=JoinRule.KNOCK),
    Case("4.3.4", "5.3.4", "joined already, invite", **of(BOB, JOIN, JOIN)),
    Case("4.3.4", "5.3.4", "joined already, knock", **of(BOB, JOIN, JOIN), join_rule=JoinRule.KNOCK),
    Case("4.3.7", "5.3.7", "not invited", **of(BOB, LEAVE, JOIN), refused="its join rule is invite"),
    Case("4.3.7", "5.3.7", "a knock is no invitation", **of(BOB, KNOCK, JOIN), refused="its join rule is knock",
         join_rule=JoinRule.KNOCK),
    Case("4.3.7", "5.3.7", "an authoriser opens no invite room", **of(BOB, LEAVE, JOIN), refused="invite",
         also=INVITER),
    *(
        row
        for rule in (JoinRule.RESTRICTED, JoinRule.KNOCK_RESTRICTED)
        for row in (
            Case("4.3.5.1", "5.3.5.1", f"invited, {rule.text}", **of(BOB, INVITE, JOIN), join_rule=rule),
            Case("4.3.5.1", "5.3.5.1", f"joined, {rule.text}", **of(BOB, JOIN, JOIN), join_rule=rule),
            Case("4.3.5.2", "5.3.5.2", f"nobody vouches, {rule.text}", **of(BOB, LEAVE, JOIN), join_rule=rule,
                 refused="an invitation, or to be in a room"),
            Case("4.3.5.2", "5.3.5.2", f"knocked, nobody vouches, {rule.text}", **of(BOB, KNOCK, JOIN), join_rule=rule,
                 refused="an invitation"),
            Case("4.3.5.2", "5.3.5.2", f"who vouches has left, {rule.text}", **of(BOB, LEAVE, JOIN), join_rule=rule,
                 refused="an invitation", also={"authoriser": now(MODERATOR, LEAVE)}),
            Case("4.3.5.2", "5.3.5.2", f"who vouches may not invite, {rule.text}", **of(BOB, LEAVE, JOIN),
                 join_rule=rule, refused="an invitation", power=INVITE_50, also={"authoriser": CAROL}),
            Case("4.3.5.3", "5.3.5.3", f"somebody vouches, {rule.text}", **of(BOB, LEAVE, JOIN), join_rule=rule,
                 power=INVITE_50, also=INVITER),
            Case("4.3.5.3", "5.3.5.3", f"knocked, somebody vouches, {rule.text}", **of(BOB, KNOCK, JOIN),
                 join_rule=rule, also=INVITER),
        )
    ),
    Case("4.3.6", "5.3.6", "public", **of(BOB, LEAVE, JOIN), join_rule=JoinRule.PUBLIC),
    Case("4.3.6", "5.3.6", "public, after a knock", **of(BOB, KNOCK, JOIN), join_rule=JoinRule.PUBLIC),
    Case("4.3.7", "5.3.7", "private, even invited", **of(BOB, INVITE, JOIN), refused="private",
         join_rule=JoinRule.PRIVATE),
]  # fmt: skip

SIGNED = ThirdParty(names_target=True, issuer=MODERATOR.ref, signed=True)


def third_party(was: Membership, facts: ThirdParty | None, by: Member = MODERATOR) -> dict[str, Any]:
    target = now(BOB, was)
    event = moves(target, INVITE, third_party=True)
    return {"sender": by, "event": event, "target": target, "also": {"third_party": facts}}


def but(facts: ThirdParty, **changed: Any) -> ThirdParty:
    return msgspec.structs.replace(facts, **changed)


INVITATIONS = [
    Case("4.4.1.1", "5.4.1.1", "third party, banned", **third_party(BAN, SIGNED), refused="banned"),
    Case("4.4.1.4", "5.4.1.4", "third party, for another person", **third_party(LEAVE, but(SIGNED, names_target=False)),
         refused="mxid"),
    Case("4.4.1.5", "5.4.1.5", "third party, unknown token", **third_party(LEAVE, but(SIGNED, issuer=None)),
         refused="token"),
    Case("4.4.1.5", "5.4.1.5", "third party, nothing found out", **third_party(LEAVE, None), refused="token"),
    Case("4.4.1.6", "5.4.1.6", "third party, token of another sender", **third_party(LEAVE, SIGNED, by=ADMIN),
         refused="somebody else"),
    Case("4.4.1.7", "5.4.1.7", "third party, signed", **third_party(LEAVE, SIGNED)),
    Case("4.4.1.7", "5.4.1.7", "third party, signed, inviter gone",
         **third_party(LEAVE, SIGNED, now(MODERATOR, LEAVE))),
    Case("4.4.1.8", "5.4.1.8", "third party, not signed", **third_party(LEAVE, but(SIGNED, signed=False)),
         refused="signed"),
    *(
        Case("4.4.2", "5.4.2", f"the sender is {m.text}", **of(BOB, LEAVE, INVITE, by=now(ADMIN, m)),
             refused="not a joined member")
        for m in (INVITE, KNOCK, LEAVE, BAN)
    ),
    Case("4.4.3", "5.4.3", "joined already", **of(BOB, JOIN, INVITE, by=ADMIN), refused="already"),
    Case("4.4.3", "5.4.3", "oneself, joined", **of(BOB, JOIN, INVITE), refused="already"),
    Case("4.4.3", "5.4.3", "banned", **of(BOB, BAN, INVITE, by=ADMIN), refused="unban them first"),
    *(
        Case("4.4.4", "5.4.4", f"level reached, was {m.text}", **of(BOB, m, INVITE, by=MODERATOR), power=INVITE_50)
        for m in (INVITE, KNOCK, LEAVE)
    ),
    Case("4.4.4", "5.4.4", "default level is 0", **of(BOB, LEAVE, INVITE, by=CAROL)),
    Case("4.4.5", "5.4.5", "default level not reached", **of(BOB, LEAVE, INVITE, by=LOW),
         refused="power level 0 to invite; yours is -5"),
    Case("4.4.5", "5.4.5", "level not reached", **of(BOB, LEAVE, INVITE, by=CAROL), power=INVITE_50,
         refused="power level 50 to invite; yours is 0"),
    Case("4.4.4", "5.4.4", "a creator needs no level", **of(BOB, LEAVE, INVITE, by=PARTNER), versions=FROM_12,
         power=PowerLevels(invite=2**53 - 1)),
]  # fmt: skip

KICK_10_BAN_60 = PowerLevels(users=LEVELS, kick=10, ban=60)
KICK_60_BAN_10 = PowerLevels(users=LEVELS, kick=60, ban=10)

LEAVES = [
    *(Case("4.5.1", "5.5.1", f"oneself, was {m.text}", **of(BOB, m, LEAVE)) for m in (INVITE, JOIN, KNOCK)),
    Case("4.5.1", "5.5.1", "oneself, was leave", **of(BOB, LEAVE, LEAVE), refused="not in this room"),
    Case("4.5.1", "5.5.1", "oneself, banned", **of(BOB, BAN, LEAVE), refused="somebody else can unban"),
    Case("4.5.1", "5.5.1", "an admin, banned, unbans nobody", **of(ADMIN, BAN, LEAVE), refused="unban"),
    *(
        Case("4.5.2", "5.5.2", f"the sender is {m.text}", **of(BOB, JOIN, LEAVE, by=now(ADMIN, m)),
             refused="not a joined member")
        for m in (INVITE, KNOCK, LEAVE, BAN)
    ),
    Case("4.5.3", "5.5.3", "unban, above kick but not ban", **of(BOB, BAN, LEAVE, by=MODERATOR),
         power=KICK_10_BAN_60, refused="power level 60 to unban; yours is 50"),
    Case("4.5.5", "5.5.5", "unban, above ban but not kick", **of(BOB, BAN, LEAVE, by=MODERATOR),
         power=KICK_60_BAN_10, refused="power level 60 to unban; yours is 50"),
    Case("4.5.4", "5.5.4", "unban, above both", **of(BOB, BAN, LEAVE, by=MODERATOR)),
    Case("4.5.5", "5.5.5", "unban an equal", **of(OTHER_MODERATOR, BAN, LEAVE, by=MODERATOR), refused="lower"),
    *(
        Case("4.5.4", "5.5.4", f"kick, was {m.text}", **of(BOB, m, LEAVE, by=MODERATOR))
        for m in (INVITE, JOIN, KNOCK, LEAVE)
    ),
    Case("4.5.5", "5.5.5", "kick, level not reached", **of(CAROL, JOIN, LEAVE, by=BOB),
         refused="power level 50 to kick; yours is 0"),
    Case("4.5.5", "5.5.5", "kick an equal", **of(OTHER_MODERATOR, JOIN, LEAVE, by=MODERATOR), refused="lower"),
    Case("4.5.5", "5.5.5", "kick a superior", **of(ADMIN, JOIN, LEAVE, by=MODERATOR), refused="lower"),
    Case("4.5.5", "5.5.5", "kick by level 0 of an equal", **of(CAROL, JOIN, LEAVE, by=BOB), refused="lower",
         power=PowerLevels(kick=0)),
    Case("4.5.4", "5.5.4", "kick by level 0 of one below", **of(LOW, JOIN, LEAVE, by=BOB),
         power=PowerLevels(users=LEVELS, kick=0)),
    Case("4.5.5", "5.5.5", "an admin kicks a creator", **of(PARTNER, JOIN, LEAVE, by=ADMIN), versions=FROM_12,
         power=PowerLevels(users={ADMIN.ref: 2**53 - 1}), refused="lower"),
    Case("4.5.5", "5.5.5", "a creator kicks a creator", **of(PARTNER, JOIN, LEAVE, by=FOUNDER), versions=FROM_12,
         refused="lower"),
    Case("4.5.4", "5.5.4", "a creator kicks an admin", **of(ADMIN, JOIN, LEAVE, by=PARTNER), versions=FROM_12,
         power=PowerLevels(users={ADMIN.ref: 2**53 - 1}, kick=2**53 - 1)),
    Case("4.5.4", "5.5.4", "an admin kicks a founder brought low", **of(FOUNDER, JOIN, LEAVE, by=ADMIN),
         versions=BEFORE_12, power=PowerLevels(users=LEVELS)),
]  # fmt: skip

BANS = [
    *(
        Case("4.6.1", "5.6.1", f"the sender is {m.text}", **of(BOB, JOIN, BAN, by=now(ADMIN, m)),
             refused="not a joined member")
        for m in (INVITE, KNOCK, LEAVE, BAN)
    ),
    *(
        Case("4.6.2", "5.6.2", f"was {m.text}", **of(BOB, m, BAN, by=MODERATOR))
        for m in (INVITE, JOIN, KNOCK, LEAVE, BAN)
    ),
    Case("4.6.3", "5.6.3", "level not reached", **of(CAROL, JOIN, BAN, by=BOB),
         refused="power level 50 to ban; yours is 0"),
    Case("4.6.3", "5.6.3", "above kick but not ban", **of(BOB, JOIN, BAN, by=MODERATOR), power=KICK_10_BAN_60,
         refused="power level 60 to ban; yours is 50"),
    Case("4.6.2", "5.6.2", "above ban but not kick", **of(BOB, JOIN, BAN, by=MODERATOR), power=KICK_60_BAN_10),
    Case("4.6.3", "5.6.3", "an equal", **of(OTHER_MODERATOR, JOIN, BAN, by=MODERATOR), refused="lower"),
    Case("4.6.3", "5.6.3", "a superior who is not there", **of(ADMIN, LEAVE, BAN, by=MODERATOR), refused="lower"),
    Case("4.6.3", "5.6.3", "oneself", **of(ADMIN, JOIN, BAN), refused="lower"),
    Case("4.6.3", "5.6.3", "a creator", **of(FOUNDER, JOIN, BAN, by=PARTNER), versions=FROM_12, refused="lower"),
]  # fmt: skip

KNOCKS = [
    *(
        Case("4.7.1", "5.7.1", f"join rule {rule.text}", **of(BOB, LEAVE, KNOCK), join_rule=rule, refused=rule.text)
        for rule in (JoinRule.PUBLIC, JoinRule.INVITE, JoinRule.RESTRICTED, JoinRule.PRIVATE)
    ),
    Case("4.7.2", "5.7.2", "for somebody else", **of(BOB, LEAVE, KNOCK, by=ADMIN), join_rule=JoinRule.KNOCK,
         refused="somebody else"),
    *(
        Case("4.7.3", "5.7.3", f"{rule.text}, was {m.text}", **of(BOB, m, KNOCK), join_rule=rule)
        for rule in (JoinRule.KNOCK, JoinRule.KNOCK_RESTRICTED)
        for m in (LEAVE, KNOCK)
    ),
    *(
        Case("4.7.4", "5.7.4", f"was {m.text}", **of(BOB, m, KNOCK), join_rule=JoinRule.KNOCK, refused=why)
        for m, why in ((BAN, "banned"), (INVITE, "invited already"), (JOIN, "already"))
    ),
]  # fmt: skip

FORM = [
    Case("4.1", "5.1", "no state key", BOB, Proposed(type=MEMBER, change=MemberChange(membership=JOIN)),
         refused="user id as its state key"),
    Case("4.1", "5.1", "a state key that is no user id", BOB,
         Proposed(type=MEMBER, state_key=StateKeyCode(-77), change=MemberChange(membership=JOIN)),
         refused="user id as its state key"),
    Case("4.1", "5.1", "no membership", BOB, Proposed(type=MEMBER, state_key=StateKeyCode(BOB.ref)), BOB,
         refused="user id as its state key"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "case"), case_rows(JOINS + INVITATIONS + LEAVES + BANS + KNOCKS + FORM))
def test_membership(version: Version, case: Case) -> None:
    judge(version, case, governed(version, case.power, case.join_rule))


def test_the_second_event_is_the_founders_join_and_the_third_finds_the_founder_in_the_room() -> None:
    for version in VERSIONS:
        founder = now(FOUNDER, LEAVE)
        event = msgspec.structs.replace(moves(founder, JOIN), follows_create=True)
        authorise(bare(version), founder, event, founder)
        authorise(bare(version), FOUNDER, sets(NAME))
        stranger = now(BOB, LEAVE)
        with pytest.raises(Refused, match="its join rule is invite"):
            authorise(
                bare(version), stranger, msgspec.structs.replace(moves(stranger, JOIN), follows_create=True), stranger
            )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_room_is_created_once_and_first(version: Version) -> None:
    create = Proposed(type=CREATE, state_key=StateKeyCode(0), change=Create(version=version))
    authorise(None, now(FOUNDER, LEAVE), create)
    with pytest.raises(Refused, match="cannot be changed") as again:
        authorise(bare(version), FOUNDER, create)
    assert again.value.rule == "1.1"
    with pytest.raises(Refused, match=r"begins with m\.room\.create") as early:
        authorise(None, FOUNDER, Proposed(type=MESSAGE))
    assert early.value.rule == "2.4"


@pytest.mark.parametrize("version", VERSIONS)
def test_without_federation_only_the_creators_region_takes_part(version: Version) -> None:
    room = bare(version, federate=False).apply(JoinRules(rule=JoinRule.PUBLIC))
    for member, allowed in ((now(BOB, LEAVE), True), (now(CAROL, LEAVE), False)):
        if allowed:
            authorise(room, member, moves(member, JOIN), member)
        else:
            with pytest.raises(Refused, match=r"m\.federate") as caught:
                authorise(room, member, moves(member, JOIN), member)
            assert caught.value.rule == ("4" if version == 12 else "3")
    assert CAROL.region != CN


FROM_TO_NEVER = [(JOIN, INVITE), (BAN, INVITE), (BAN, JOIN), (JOIN, KNOCK), (BAN, KNOCK)]
"""From the table of `m.room.member`; that of a knock nobody joins is left to the join rule (4.3.6 lets them)."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("join_rule", JoinRule)
@pytest.mark.parametrize(("was", "becomes"), FROM_TO_NEVER)
def test_what_must_never_happen_is_refused_to_everybody(
    version: Version, join_rule: JoinRule, was: Membership, becomes: Membership
) -> None:
    room = governed(version, None, join_rule)
    bob = now(BOB, was)
    for sender in (bob, FOUNDER, PARTNER, ADMIN, MODERATOR, CAROL, now(MODERATOR, LEAVE)):
        with pytest.raises(Refused):
            authorise(room, sender, moves(bob, becomes), bob, authoriser=ADMIN)


def test_somebody_unknown_to_the_room_has_the_default_level() -> None:
    stranger = Member(MemberRef(12345), CN, JOIN)
    authorise(governed(11, PowerLevels(users_default=50)), stranger, sets(NAME))
    with pytest.raises(Refused, match=r"power level 50 to set m\.room\.name; yours is 49"):
        authorise(governed(11, PowerLevels(users_default=49)), stranger, sets(NAME))
