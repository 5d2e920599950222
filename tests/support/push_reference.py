"""Push rules and unread counts once more, as slowly and plainly as the specification puts them.

Source: Client-Server API v1.19, "Push Rules", "Receiving notifications", "Threaded read receipts".
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hutong.push.rules import default_rules

ME = "@me:cn.localhost"
MAIN = "main"


@dataclass
class Said:
    """One event. `relates`: (rel_type, index of the event that it relates to)."""

    sender: str
    type: str
    content: dict[str, Any]
    state_key: str | None = None
    relates: tuple[str, int] | None = None
    sender_may_notify: bool = False

    @property
    def json(self) -> dict[str, Any]:
        content = dict(self.content)
        if self.relates is not None:
            content["m.relates_to"] = {"rel_type": self.relates[0], "event_id": f"${self.relates[1]}"}
        event = {"type": self.type, "sender": self.sender, "content": content}
        return event if self.state_key is None else {**event, "state_key": self.state_key}


@dataclass
class Read:
    """A receipt of mine at the event with this index. `thread`: None, "main", or the index of a root."""

    index: int
    thread: str | int | None = None


@dataclass
class Counted:
    notifications: Counter[str | int] = field(default_factory=Counter)
    highlights: Counter[str | int] = field(default_factory=Counter)

    @property
    def total(self) -> tuple[int, int]:
        return self.notifications.total(), self.highlights.total()

    @property
    def by_line(self) -> dict[str | int, tuple[int, int]]:
        found = {line: (count, self.highlights[line]) for line, count in self.notifications.items()}
        return {MAIN: (0, 0), **found}


def count(steps: Sequence[Said | Read], own: str = ME) -> Counted:
    """What is unread after `steps`."""
    events = [step for step in steps if isinstance(step, Said)]
    lines = [line_of(events, index) for index in range(len(events))]
    read: dict[str | int | None, int] = {}
    told = 0
    for step in steps:
        if isinstance(step, Read):
            read[step.thread] = max(read.get(step.thread, -1), step.index)
        else:
            if step.sender == own:
                read[lines[told]] = max(read.get(lines[told], -1), told)
            told += 1
    found = Counted()
    for index, event in enumerate(events):
        if event.sender == own or index <= max(read.get(None, -1), read.get(lines[index], -1)):
            continue
        notifies, highlights = judge(event, own)
        found.notifications[lines[index]] += notifies
        found.highlights[lines[index]] += highlights
    found.notifications, found.highlights = +found.notifications, +found.highlights
    return found


def line_of(events: Sequence[Said], index: int, hops_max: int = 3) -> str | int:
    """The thread that an event is in."""
    for _ in range(hops_max):
        relates = events[index].relates
        if relates is None:
            break
        rel_type, index = relates
        if rel_type == "m.thread":
            return index
    return MAIN


def judge(event: Said, own: str) -> tuple[bool, bool]:
    """Whether the default rules notify of the event, and whether they highlight it."""
    rules = default_rules(own)
    for kind in ("override", "content", "room", "sender", "underride"):
        for rule in rules[kind]:
            if rule["enabled"] and all(holds(each, event) for each in rule["conditions"]):
                highlight = {"set_tweak": "highlight"} in rule["actions"]
                return "notify" in rule["actions"], highlight
    return False, False


def holds(condition: dict[str, Any], event: Said) -> bool:
    found, value = look_up(event.json, condition.get("key", ""))
    match condition["kind"]:
        case "event_match":
            pattern = re.escape(condition["pattern"]).replace(r"\*", ".*").replace(r"\?", ".")
            return isinstance(value, str) and re.fullmatch(pattern, value, re.IGNORECASE | re.DOTALL) is not None
        case "event_property_is":
            return found and type(value) is type(condition["value"]) and bool(value == condition["value"])
        case "event_property_contains":
            return isinstance(value, list) and any(
                type(each) is type(condition["value"]) and each == condition["value"] for each in value
            )
        case "sender_notification_permission":
            return event.sender_may_notify
        case "room_member_count":
            return False  # these rules only choose a sound
    raise AssertionError(condition)


def look_up(value: Any, key: str) -> tuple[bool, Any]:
    for part in re.split(r"(?<!\\)\.", key):
        name = part.replace("\\.", ".")
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value
