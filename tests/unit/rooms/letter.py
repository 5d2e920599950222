"""The authorisation rules of room versions 10, 11 and 12 as their text has them: line by line, on events as JSON.

Written from the text alone, to be held against `authorisation` and `structural`, which share no code with it. What the
text asks of signatures, `auth_events` and ids is not here: one system makes all events itself.
"""

import re
from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]
State = Mapping[tuple[str, str], Event]
Verdict = tuple[bool, str]
"""Allowed or not, and the number of the line that says so."""
USER_ID = re.compile(r"@[^:\0]*:[0-9A-Za-z.-]+(:[0-9]+)?")
LEVELS = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
DEFAULTS = dict.fromkeys(LEVELS, 0) | dict.fromkeys(("state_default", "ban", "kick", "redact"), 50)
INFINITE = float("inf")


class Room:
    """The state before an event, and what the text calls by name."""

    def __init__(self, version: int, state: State) -> None:
        self.version = version
        self.state = state
        self.create = state["m.room.create", ""]
        power = state.get(("m.room.power_levels", ""))
        self.power: dict[str, Any] | None = None if power is None else power["content"]

    def creators(self) -> list[str]:
        return [self.create["sender"], *self.create["content"].get("additional_creators", [])]

    def membership(self, user: str) -> str:
        event = self.state.get(("m.room.member", user))
        return "leave" if event is None else str(event["content"]["membership"])

    def join_rule(self) -> str:
        event = self.state.get(("m.room.join_rules", ""))
        return "invite" if event is None else str(event["content"]["join_rule"])

    def level(self, name: str) -> float:
        return float((self.power or {}).get(name, DEFAULTS[name]))

    def level_of(self, user: str) -> float:
        if self.version >= 12 and user in self.creators():
            return INFINITE
        if self.power is None:
            return 100 if user == self.create["sender"] else 0
        return float(self.power.get("users", {}).get(user, self.level("users_default")))

    def required(self, event: Event) -> float:
        default = self.level("state_default" if "state_key" in event else "events_default")
        return float((self.power or {}).get("events", {}).get(event["type"], default))


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_user_id(value: object) -> bool:
    return isinstance(value, str) and USER_ID.fullmatch(value) is not None


def verdict(version: int, state: State, event: Event, *, only_create_before: bool = False) -> Verdict:
    """What the text of `version` says about `event`, sent in a room of `state`."""
    later = 1 if version >= 12 else 0  # version 12 has a second rule about ids, so that all others move on by one
    room, sender, content = Room(version, state), event["sender"], event["content"]
    if event["type"] == "m.room.create":
        return False, "1.1"
    domain, home = sender.partition(":")[2], room.create["sender"].partition(":")[2]
    if room.create["content"].get("m.federate") is False and domain != home:
        return False, f"{3 + later}"
    if event["type"] == "m.room.member":
        allowed, number = _member(room, event, only_create_before)
        return allowed, f"{4 + later}.{number}"
    if room.membership(sender) != "join":
        return False, f"{5 + later}"
    if event["type"] == "m.room.third_party_invite":
        return room.level_of(sender) >= room.level("invite"), f"{6 + later}.1"
    if room.required(event) > room.level_of(sender):
        return False, f"{7 + later}"
    if event.get("state_key", "").startswith("@") and event["state_key"] != sender:
        return False, f"{8 + later}"
    if event["type"] == "m.room.power_levels":
        allowed, number = _power_levels(room, sender, content)
        return allowed, f"{9 + later}.{number}"
    return True, f"{10 + later}"


def _member(room: Room, event: Event, only_create_before: bool) -> Verdict:
    sender, target, content = event["sender"], event.get("state_key"), event["content"]
    if target is None or "membership" not in content:
        return False, "1"
    was = room.membership(target)
    match content["membership"]:
        case "join":
            return _join(room, sender, target, content, only_create_before)
        case "invite":
            return _invite(room, sender, target, was, content)
        case "leave":
            if sender == target:
                return was in ("invite", "join", "knock"), "5.1"
            if room.membership(sender) != "join":
                return False, "5.2"
            if was == "ban" and room.level_of(sender) < room.level("ban"):
                return False, "5.3"
            if room.level_of(sender) >= room.level("kick") and room.level_of(target) < room.level_of(sender):
                return True, "5.4"
            return False, "5.5"
        case "ban":
            if room.membership(sender) != "join":
                return False, "6.1"
            if room.level_of(sender) >= room.level("ban") and room.level_of(target) < room.level_of(sender):
                return True, "6.2"
            return False, "6.3"
        case "knock":
            if room.join_rule() not in ("knock", "knock_restricted"):
                return False, "7.1"
            if sender != target:
                return False, "7.2"
            allowed = room.membership(sender) not in ("ban", "invite", "join")
            return allowed, "7.3" if allowed else "7.4"
    return False, "8"


def _join(room: Room, sender: str, target: str, content: Event, only_create_before: bool) -> Verdict:
    if only_create_before and target == room.create["sender"]:
        return True, "3.1"
    if sender != target:
        return False, "3.2"
    if room.membership(sender) == "ban":
        return False, "3.3"
    if room.join_rule() in ("invite", "knock") and room.membership(sender) in ("invite", "join"):
        return True, "3.4"
    if room.join_rule() in ("restricted", "knock_restricted"):
        if room.membership(sender) in ("join", "invite"):
            return True, "3.5.1"
        via = content.get("join_authorised_via_users_server")
        if via is None or room.level_of(via) < room.level("invite") or room.membership(via) != "join":
            return False, "3.5.2"
        return True, "3.5.3"
    return (True, "3.6") if room.join_rule() == "public" else (False, "3.7")


def _invite(room: Room, sender: str, target: str, was: str, content: Event) -> Verdict:
    if "third_party_invite" in content:
        if was == "ban":
            return False, "4.1.1"
        signed = content["third_party_invite"].get("signed")
        if signed is None:
            return False, "4.1.2"
        if "mxid" not in signed or "token" not in signed:
            return False, "4.1.3"
        if signed["mxid"] != target:
            return False, "4.1.4"
        invitation = room.state.get(("m.room.third_party_invite", signed["token"]))
        if invitation is None:
            return False, "4.1.5"
        if sender != invitation["sender"]:
            return False, "4.1.6"
        return (True, "4.1.7") if signed.get("is_signed") else (False, "4.1.8")
    if room.membership(sender) != "join":
        return False, "4.2"
    if was in ("join", "ban"):
        return False, "4.3"
    return (True, "4.4") if room.level_of(sender) >= room.level("invite") else (False, "4.5")


def _power_levels(room: Room, sender: str, content: Event) -> Verdict:
    later = 1 if room.version >= 12 else 0  # its 10.4 is new
    own = room.level_of(sender)
    if any(name in content and not is_integer(content[name]) for name in LEVELS):
        return False, "1"
    for name in ("events", "notifications"):
        entries = content.get(name, {})
        if not isinstance(entries, dict) or not all(map(is_integer, entries.values())):
            return False, "2"
    users = content.get("users", {})
    if not isinstance(users, dict) or not all(map(is_user_id, users)) or not all(map(is_integer, users.values())):
        return False, "3"
    if room.version >= 12 and any(creator in users for creator in room.creators()):
        return False, "4"
    if room.power is None:
        return True, f"{4 + later}"
    for name in LEVELS:
        if room.power.get(name) != content.get(name):
            if room.power.get(name, DEFAULTS[name]) > own:
                return False, f"{5 + later}.1"
            if content.get(name, DEFAULTS[name]) > own:
                return False, f"{5 + later}.2"
    entries = [(room.power.get(name, {}), content.get(name, {})) for name in ("events", "notifications")]
    for was, will in entries:
        if any(level > own for key, level in was.items() if will.get(key) != level):
            return False, f"{6 + later}.1"
    for was, will in entries:
        if any(level > own for key, level in will.items() if was.get(key) != level):
            return False, f"{7 + later}.1"
    was = room.power.get("users", {})
    if any(level >= own for user, level in was.items() if users.get(user) != level and user != sender):
        return False, f"{8 + later}.1"
    if any(level > own for user, level in users.items() if was.get(user) != level):
        return False, f"{9 + later}.1"
    return True, "10"
