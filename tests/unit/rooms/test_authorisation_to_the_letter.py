"""Every rule of the text has its case, and for any room and event the rules of hutong decide as the text does."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from hutong.errors import MatrixError
from hutong.ids import MemberRef, RegionNo, StateKeyCode, TypeCode
from hutong.rooms import structural
from hutong.rooms.authorisation import Member, Proposed, Refused, ThirdParty, authorise
from hutong.rooms.event_types import MEMBER, STRUCTURAL, Membership, code_of
from hutong.rooms.projection import VERSIONS, Change, Projection, Version
from tests.support.openapi import specification
from tests.unit.rooms import letter
from tests.unit.rooms.test_authorisation_membership import BANS, FORM, INVITATIONS, JOINS, KNOCKS, LEAVES
from tests.unit.rooms.test_authorisation_power import CHANGES, EVENTS

CASES = JOINS + INVITATIONS + LEAVES + BANS + KNOCKS + FORM + EVENTS + CHANGES
ELSEWHERE = {
    "1.1": "test_a_room_is_created_once_and_first",
    "1.2": "the server makes room ids itself",
    "1.3": "test_structural: room_version",
    "1.4": "test_structural: creator of version 10, additional_creators of version 12; version 11: otherwise, allow",
    "1.5": "test_a_room_is_created_once_and_first",
    "2.1": "no auth_events",
    "2.2": "no auth_events",
    "2.3": "no auth_events",
    "2.4": "test_a_room_is_created_once_and_first",
    "2.5": "no auth_events",
    "3": "test_without_federation_only_the_creators_region_takes_part",
    "4.2.1": "no signatures: the authoriser is passed beside the content, see the cases of 4.3.5",
    "4.4.1.2": "test_structural: third_party_invite",
    "4.4.1.3": "test_structural: third_party_invite",
    "4.4.1.7.1": "the cases of 4.4.1.7, and tests/api/test_third_party.py",
    "4.4.1.7.2": "the cases of 4.4.1.7, and tests/api/test_third_party.py",
    "4.8": "test_structural: membership",
    "9.1": "test_structural: power levels",
    "9.2": "test_structural: power levels",
    "9.4": "test_the_first_power_levels_may_say_anything",
}
"""The rules without a case in the tables, by their numbers in version 11, and where they are kept or tested."""
ONLY_IN_12 = {"2": "the server makes room ids itself"}


def in_version(version: Version, rule: str) -> str:
    """The number that a rule of version 11 has in `version`."""
    if version < 12:
        return rule
    first, *rest = rule.split(".")
    if first == "1":
        return rule
    if first == "9" and int(rest[0]) >= 4:
        rest[0] = str(int(rest[0]) + 1)
    return ".".join((str(int(first) + 1), *rest))


def rules_of(folder: Path, version: Version) -> list[str]:
    """The numbers of the rules without further parts, as they stand in the text."""
    text = (folder / f"content/rooms/v{version}.md").read_text()
    text = text.split("The rules are as follows:\n", 1)[1].split("{{% boxes/note", 1)[0]
    found: list[str] = []
    path: list[tuple[int, str]] = []
    for indent, number in re.findall(r"^( *)(\d+)\. ", text, re.MULTILINE):
        path = [step for step in path if step[0] < len(indent)] + [(len(indent), number)]
        found.append(".".join(step for _, step in path))
    return [rule for rule in found if not any(other.startswith(rule + ".") for other in found)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_rule_of_the_text_has_a_case_or_a_reason(version: Version) -> None:
    folder = specification()
    if folder is None:
        pytest.skip("the specification is not on this machine")
    rules = rules_of(folder, version)
    assert len(rules) > 60, "the text is read"
    with_case = {case.rule_12 if version >= 12 else case.rule for case in CASES if version in case.versions}
    elsewhere = {in_version(version, rule) for rule in ELSEWHERE} | set(ONLY_IN_12 if version >= 12 else ())
    assert [rule for rule in rules if rule not in with_case | elsewhere] == []
    # Where the text counts two rules as 10.10, one is 10.10.1 and the other allows; 4.4.1.7 stands for its two parts.
    numbered = {rule.rpartition(".")[0] for rule in rules} | set(rules)
    assert with_case <= numbered, "a case of a rule that the text does not have"


# Any room, any event.

USERS = ["@founder:cn", "@partner:cn", "@bob:cn", "@carol:eu"]
REFS = {user: MemberRef(number) for number, user in enumerate(USERS, 1)}
REGIONS = {"cn": RegionNo(1), "eu": RegionNo(2)}
OWN_TYPE = "org.example.own"
TOKEN = "token"
WORDS = ["invite", "join", "knock", "leave", "ban"]
ODD = ("1", 1.5, True, None, [1])
"""What is no integer."""
JOIN_RULES = ("public", "invite", "knock", "restricted", "knock_restricted", "private")
KINDS = (*WORDS, "visit", "levels", "levels", "levels", "state", "message", "create")
ROUNDS = 20_000

State = dict[tuple[str, str], dict[str, Any]]
Json = dict[str, Any]


def some_levels(chance: random.Random, *, odd: bool) -> Json:
    """Few people and few levels, so that many changes are allowed and most touch somebody; if `odd`, some nonsense."""

    def level() -> Any:
        return chance.choice(ODD) if odd and chance.random() < 0.1 else chance.randint(-1, 3)

    def entries(*keys: str) -> Any:
        return (
            chance.choice(ODD) if odd and chance.random() < 0.1 else {k: level() for k in keys if chance.random() < 0.5}
        )

    content: Json = {name: level() for name in letter.LEVELS if chance.random() < 0.4}
    content["users"] = entries(*USERS, *(["bob"] if odd else []))
    content["events"] = entries("m.room.name", "m.room.message", "m.room.power_levels", OWN_TYPE)
    content["notifications"] = entries("room", "odd")
    return {name: value for name, value in content.items() if chance.random() < 0.8}


def some_room(chance: random.Random) -> tuple[Version, State]:
    version = chance.choice(VERSIONS)
    create: Json = {"room_version": str(version)}
    if chance.random() < 0.3:
        create["m.federate"] = chance.random() < 0.5
    if version == 10:
        create["creator"] = USERS[0]
    if version >= 12 and chance.random() < 0.5:
        create["additional_creators"] = [USERS[1]]
    state: State = {("m.room.create", ""): {"sender": USERS[0], "content": create}}
    for user in USERS:
        if (membership := chance.choice([*["join"] * 4, *WORDS, ""])) != "":
            state["m.room.member", user] = {"content": {"membership": membership}}
    if chance.random() < 0.8:
        state["m.room.join_rules", ""] = {"content": {"join_rule": chance.choice(JOIN_RULES), "allow": []}}
    if chance.random() < 0.8:
        power = some_levels(chance, odd=False)
        if version >= 12:
            power["users"] = {user: level for user, level in power.get("users", {}).items() if user not in USERS[:2]}
        state["m.room.power_levels", ""] = {"content": power}
    if chance.random() < 0.6:
        state["m.room.third_party_invite", TOKEN] = {"sender": chance.choice(USERS)}
    return version, state


def some_event(chance: random.Random, state: State) -> Json:
    sender, kind = chance.choice(USERS), chance.choice(KINDS)
    event: Json = {"type": f"m.room.{kind}", "sender": sender, "content": {}}
    if kind in WORDS or kind == "visit":
        event["type"] = "m.room.member"
        if chance.random() < 0.95:
            event["content"]["membership"] = kind
        if chance.random() < 0.6:
            event["content"]["join_authorised_via_users_server"] = chance.choice(USERS)
        if chance.random() < 0.95:
            event["state_key"] = sender if chance.random() < 0.5 else chance.choice(USERS)
        if kind == "invite" and chance.random() < 0.4:
            signed = {"mxid": event.get("state_key", ""), "token": TOKEN, "is_signed": True}
            signed |= {"mxid": chance.choice(USERS)} if chance.random() < 0.2 else {}
            signed |= {"token": "unknown"} if chance.random() < 0.2 else {}
            signed = {key: value for key, value in signed.items() if chance.random() < 0.9}
            event["content"]["third_party_invite"] = {"signed": signed} if chance.random() < 0.9 else {}
    elif kind == "levels":
        held = state.get(("m.room.power_levels", ""), {}).get("content", {})
        event |= {"type": "m.room.power_levels", "state_key": ""}
        changed = some_levels(chance, odd=chance.random() < 0.2)
        if chance.random() < 0.7:  # little is changed
            changed = {name: changed[name] for name in changed if chance.random() < 0.3}
            for name in ("users", "events", "notifications"):
                if isinstance(changed.get(name), dict) and chance.random() < 0.7:
                    changed[name] = {**held.get(name, {}), **changed[name]}
            changed = {**held, **changed}
        event["content"] = changed
    elif kind == "state":
        event["type"] = chance.choice(["m.room.name", OWN_TYPE, "m.room.third_party_invite"])
        event["state_key"] = chance.choice(["", "key", *USERS])
    elif kind == "create":
        event["state_key"] = ""
    return event


RESOLVER = structural.Resolver(ref=REFS.__getitem__, hashed=lambda text: -len(text), room=lambda text: None)


def decided(version: Version, state: letter.State, event: letter.Event, *, follows_create: bool) -> letter.Verdict:
    """What hutong's own rules say; the number of the rule only where they refuse by one."""
    try:
        room = Projection.created(
            structural.parse_create(state["m.room.create", ""]["content"], RESOLVER), REFS[USERS[0]], REGIONS["cn"]
        )
        for type in ("m.room.power_levels", "m.room.join_rules"):
            if (type, "") in state:
                code = code_of(type)
                assert code is not None
                change = structural.parse(version, code, state[type, ""]["content"], RESOLVER)
                assert change is not None
                room = room.apply(change)
        content, key = event["content"], event.get("state_key")
        via, third = content.get("join_authorised_via_users_server"), content.get("third_party_invite")
        authorise(
            room,
            member(state, event["sender"]),
            proposed(version, event, follows_create=follows_create),
            member(state, key) if event["type"] == "m.room.member" and key is not None else None,
            authoriser=None if via is None else member(state, via),
            third_party=None if third is None else found_out(state, third["signed"], key),
        )
    except Refused as refused:
        return False, refused.rule
    except MatrixError:
        return False, ""
    return True, ""


def member(state: letter.State, user: str) -> Member:
    event = state.get(("m.room.member", user))
    text = "leave" if event is None else event["content"]["membership"]
    return Member(REFS[user], REGIONS[user.partition(":")[2]], Membership.of(text) or Membership.LEAVE)


def proposed(version: Version, event: letter.Event, *, follows_create: bool) -> Proposed:
    code, key = code_of(event["type"]) or TypeCode(RESOLVER.hashed(event["type"])), event.get("state_key")
    change: Change | None = None
    if code == MEMBER:
        change = structural.parse_member(event["content"])
    elif code in STRUCTURAL and event["type"] != "m.room.create":
        change = structural.parse(version, code, event["content"], RESOLVER)
    skey = None if key is None else StateKeyCode(REFS.get(key, -len(key)))
    return Proposed(
        type=code, state_key=skey, names_user=(key or "").startswith("@"), change=change, follows_create=follows_create
    )


def found_out(state: letter.State, signed: dict[str, Any], target: str | None) -> ThirdParty:
    invitation = state.get(("m.room.third_party_invite", signed["token"]))
    issuer = None if invitation is None else REFS[invitation["sender"]]
    return ThirdParty(names_target=signed["mxid"] == target, issuer=issuer, signed="is_signed" in signed)


def lifted_by_removal(version: Version, state: letter.State, event: letter.Event) -> bool:
    """The one point in which hutong is stricter than the text: see `authorisation`."""
    held = state.get(("m.room.power_levels", ""))
    if event["type"] != "m.room.power_levels" or held is None:
        return False
    own = letter.Room(version, state).level_of(event["sender"])
    users = event["content"].get("users", {})
    removed = [level for user, level in held["content"].get("users", {}).items() if user not in users]
    return any(event["content"].get("users_default", 0) > max(own, level) for level in removed)


def test_any_event_in_any_room_is_judged_as_the_text_has_it(seeded: random.Random) -> None:
    lines: set[str] = set()
    for _ in range(ROUNDS):
        version, state = some_room(seeded)
        event, follows_create = some_event(seeded, state), seeded.random() < 0.1
        allowed, line = letter.verdict(version, state, event, only_create_before=follows_create)
        ours, rule = decided(version, state, event, follows_create=follows_create)
        if allowed and not ours and lifted_by_removal(version, state, event):
            continue
        assert (ours, rule or line) == (allowed, line), (version, state, event, follows_create)
        lines.add(f"{version}: {line}")
    assert len(lines) > 120, "most lines of the text had their say"
