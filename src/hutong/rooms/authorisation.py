"""Who may do what in a room: the authorisation rules of room versions 10, 11 and 12. No I/O, no clock.

Rules are numbered as version 11 numbers them; `Refused.rule` says the number of the room's own version. hutong's
regions are one system with one linear history per room, so some rules are kept by other means:

| rule (of 11; of 12)       | instead                                                                                 |
|---------------------------|-----------------------------------------------------------------------------------------|
| the sender's signature    | the sender's access token, checked in the home region; links authenticate the cell      |
| 1.2                       | the server makes room ids itself, and no client names one                               |
| 1.3 (and 1.4 of 10, 12)   | `structural.parse_create`                                                               |
| 2.1, 2.2, 2.3, 2.5 (2, 3) | no `auth_events`: the room's home authorises against its projection, in timeline order  |
| 4.1 (5.1)                 | `structural.parse_member`; here: the state key must name a person                       |
| 4.2 (5.2), its signature  | the room's home names the member on whose authority a restricted join rests, and passes |
|                           | it as `authoriser`; what a client writes there has no effect                            |
| 4.4.1.2, .3 (5.4.1.2, .3) | `structural.third_party_signed`                                                         |
| 4.4.1.7 (5.4.1.7)         | `third_party.is_signed`; the caller says so in `ThirdParty`                             |
| 9.1 to 9.3 (10.1 to 10.3) | `structural.parse`                                                                      |

Where the text leaves a choice: an absent power level means its default, as the note on top of the rules says, also for
"the current value" and "the new value" of 9.5 (10.6).

In two points this is stricter than the text. An entry may not be removed from `users` if that lifts the person above
the sender (only possible when `users_default` is higher than the sender's own level): else somebody held down by an
entry could lift themselves by removing it. And `m.room.power_levels` that would not govern, sent as a message or with
another state key, is refused: it has no typed content, and could only mislead.
"""

from collections.abc import Mapping
from typing import Final, NoReturn, TypeVar

from msgspec import Struct

from hutong.errors import Forbidden
from hutong.ids import MemberRef, RegionNo, StateKeyCode, TypeCode
from hutong.rooms.event_types import (
    CREATE,
    MEMBER,
    NOTIFY_ROOM,
    POWER_LEVELS,
    THIRD_PARTY_INVITE,
    JoinRule,
    Membership,
    text_of,
)
from hutong.rooms.projection import LEVEL_MAX, Change, MemberChange, PowerLevels, Projection

INFINITE: Final = LEVEL_MAX + 1
"""The level of a creator in version 12: more than anybody can be given."""
FIRST_CREATOR: Final = 100
"""The level of the creator before version 12, while the room has no `m.room.power_levels`."""
DEFAULTS: Final = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "redact": 50,
    "kick": 50,
    "invite": 0,
}
"""In the order in which the text goes through them."""
NOTIFICATION_DEFAULT: Final = 50
K = TypeVar("K")
_NO_POWER_LEVELS: Final = PowerLevels()
_RESTRICTED: Final = (JoinRule.RESTRICTED, JoinRule.KNOCK_RESTRICTED)
_WELCOMES: Final = (JoinRule.INVITE, JoinRule.KNOCK, *_RESTRICTED)
"""The rules under which an invitation lets its holder in."""


class Refused(Forbidden):
    """The rules do not allow it. `rule` is the number of the rule in the room's version; the client is told why."""

    def __init__(self, rule: str, why: str) -> None:
        super().__init__(why)
        self.rule = rule


class Member(Struct, frozen=True):
    """Somebody as the room knows them; without an `m.room.member` event, `membership` is LEAVE."""

    ref: MemberRef
    region: RegionNo
    membership: Membership


class ThirdParty(Struct, frozen=True, kw_only=True):
    """What the caller found out about a `third_party_invite`: whether its `mxid` is the state key, who sent the
    `m.room.third_party_invite` with its token (None: there is none), and whether one of the keys there signed it."""

    names_target: bool
    issuer: MemberRef | None
    signed: bool


class Proposed(Struct, frozen=True, kw_only=True):
    """An event before it is one.

    `state_key`: None for a message. `names_user`: the state key starts with "@". `change`: the typed content of an
    event that governs (a structural type with an empty state key, or a person's for membership). `follows_create`: the
    room holds nothing but its `m.room.create`.
    """

    type: TypeCode
    state_key: StateKeyCode | None = None
    names_user: bool = False
    change: Change | None = None
    follows_create: bool = False


def authorise(
    room: Projection | None,
    sender: Member,
    event: Proposed,
    target: Member | None = None,
    *,
    authoriser: Member | None = None,
    third_party: ThirdParty | None = None,
) -> None:
    """Let `event` by `sender` pass, or raise. `room`: the projection before the event, None before its first.

    `target`: whom the state key of `m.room.member` names (may be `sender`). `authoriser`: for a join by somebody whom
    the `allow` of a restricted rule lets in, a joined member who may invite, found by the room's home.
    Raises: Refused (403).
    Cost: a few look-ups in small dicts; for power levels, once over the entries. Nothing grows with the members.
    Source: room versions 10, 11 and 12, "Authorisation rules".
    """
    if event.type == CREATE:
        if room is not None:
            raise Refused("1.1", "this room has been created already; m.room.create cannot be changed")
        return
    if room is None:
        raise Refused("2.4", "a room begins with m.room.create")
    if not room.federate and sender.region != room.origin:
        _refuse(room, "3", "this room is for people of its own region only (m.federate is false)")
    if event.type == MEMBER:
        _membership(room, sender, event, target, authoriser, third_party)
        return
    if sender.membership != Membership.JOIN:
        _refuse(room, "5", "you are not a joined member of this room")
    own = level_of(room, sender.ref)
    if event.type == THIRD_PARTY_INVITE:
        _require(room, "6.1", own, _default(room, "invite"), "to invite")
        return
    is_state = event.state_key is not None
    needed = level_needed(room, event.type, is_state=is_state)
    if needed > own:
        name = text_of(event.type) or ("this type of state" if is_state else "this type of event")
        _require(room, "7", own, needed, f"to {'set' if is_state else 'send'} {name}")
    if event.names_user and event.state_key != StateKeyCode(sender.ref):
        _refuse(room, "8", "a state key that starts with @ belongs to that user: only they can set it")
    if event.type == POWER_LEVELS:
        if not isinstance(event.change, PowerLevels):
            _refuse(room, "9.3", "m.room.power_levels is state of the room: set it with an empty state key")
        _power_levels(room, sender.ref, own, event.change)


def level_of(room: Projection, ref: MemberRef) -> int:
    """The power level of `ref`, member or not; INFINITE for a creator in version 12."""
    if room.outranks_all(ref):
        return INFINITE
    if room.power is None:
        return FIRST_CREATOR if ref == room.creators[0] else DEFAULTS["users_default"]
    level = room.power.users.get(ref)
    return _default(room, "users_default") if level is None else level


def level_needed(room: Projection, type: TypeCode, *, is_state: bool) -> int:
    """The power level that an event of `type` takes; membership and redaction have levels of their own beside it."""
    level = None if room.power is None else room.power.events.get(type)
    return _default(room, "state_default" if is_state else "events_default") if level is None else level


def may_invite(room: Projection, member: Member) -> bool:
    """Whether `member` can invite, and so can be the authority for a restricted join."""
    return member.membership == Membership.JOIN and level_of(room, member.ref) >= _default(room, "invite")


def inviters(room: Projection) -> list[MemberRef]:
    """Those whose own level, given to them by name, lets them invite; the highest first. They need not be members."""
    named = set(room.creators) | (room.power.users.keys() if room.power is not None else set())
    able = [ref for ref in named if level_of(room, ref) >= _default(room, "invite")]
    return sorted(able, key=lambda ref: (-level_of(room, ref), ref))


def anybody_invites(room: Projection) -> bool:
    """Whether members without a level of their own may invite."""
    return _default(room, "users_default") >= _default(room, "invite")


def may_notify_room(room: Projection, sender: MemberRef) -> bool:
    """Whether a mention of the whole room by `sender` notifies it."""
    level = None if room.power is None else room.power.notifications.get(NOTIFY_ROOM)
    return level_of(room, sender) >= (NOTIFICATION_DEFAULT if level is None else level)


def check_redaction(room: Projection, sender: MemberRef, redacted_type: TypeCode, redacted_sender: MemberRef) -> None:
    """Let a redaction, which `authorise` has let pass as an event, take effect, or raise.

    Of the specification's second condition, an equal domain, one's own event is what a single system needs.
    `m.room.create` is what a room stands on: nobody redacts it.
    Raises: Refused (403).
    Source: room versions 10 to 12, "Handling redactions".
    """
    if redacted_type == CREATE:
        raise Refused("redaction", "m.room.create cannot be redacted: the room stands on it")
    if sender != redacted_sender:
        needed = _default(room, "redact")
        if level_of(room, sender) < needed:
            yours = level_of(room, sender)
            raise Refused("redaction", f"you need power level {needed} to redact others' events; yours is {yours}")


def _membership(
    room: Projection,
    sender: Member,
    event: Proposed,
    target: Member | None,
    authoriser: Member | None,
    third_party: ThirdParty | None,
) -> None:
    change = event.change
    if target is None or not isinstance(change, MemberChange):
        _refuse(room, "4.1", "m.room.member needs a user id as its state key")
    match change.membership:
        case Membership.JOIN:
            _join(room, sender, target, authoriser, follows_create=event.follows_create)
        case Membership.INVITE if change.third_party:
            _third_party_invite(room, sender, target, third_party)
        case Membership.INVITE:
            _invite(room, sender, target)
        case Membership.LEAVE:
            _leave(room, sender, target)
        case Membership.BAN:
            _ban(room, sender, target)
        case Membership.KNOCK:
            _knock(room, sender, target)


def _join(room: Projection, sender: Member, target: Member, authoriser: Member | None, *, follows_create: bool) -> None:
    if follows_create and target.ref == room.creators[0]:
        return
    if sender.ref != target.ref:
        _refuse(room, "4.3.2", "nobody can join for somebody else; invite them")
    if sender.membership == Membership.BAN:
        _refuse(room, "4.3.3", "you are banned from this room")
    rule = room.join_rule
    welcome = sender.membership in (Membership.INVITE, Membership.JOIN)
    if rule == JoinRule.PUBLIC or (rule in _WELCOMES and welcome):
        return
    if rule in _RESTRICTED and (authoriser is None or not may_invite(room, authoriser)):
        _refuse(room, "4.3.5.2", "you need an invitation, or to be in a room whose members may join this one")
    if rule not in _RESTRICTED:
        _refuse(room, "4.3.7", f"you cannot join this room: its join rule is {rule.text}")


def _third_party_invite(room: Projection, sender: Member, target: Member, facts: ThirdParty | None) -> None:
    if target.membership == Membership.BAN:
        _refuse(room, "4.4.1.1", "this person is banned from the room; unban them first")
    if facts is not None and not facts.names_target:
        _refuse(room, "4.4.1.4", "third_party_invite.signed.mxid: is not the state key")
    if facts is None or facts.issuer is None:
        _refuse(room, "4.4.1.5", "third_party_invite.signed.token: the room has no such m.room.third_party_invite")
    if facts.issuer != sender.ref:
        _refuse(room, "4.4.1.6", "third_party_invite.signed.token: was issued by somebody else")
    if not facts.signed:
        _refuse(room, "4.4.1.8", "third_party_invite.signed: no key of the m.room.third_party_invite signed it")


def _invite(room: Projection, sender: Member, target: Member) -> None:
    if sender.membership != Membership.JOIN:
        _refuse(room, "4.4.2", "you are not a joined member of this room")
    if target.membership == Membership.JOIN:
        _refuse(room, "4.4.3", "this person is in the room already")
    if target.membership == Membership.BAN:
        _refuse(room, "4.4.3", "this person is banned from the room; unban them first")
    _require(room, "4.4.5", level_of(room, sender.ref), _default(room, "invite"), "to invite")


def _leave(room: Projection, sender: Member, target: Member) -> None:
    if sender.ref == target.ref:
        if sender.membership == Membership.BAN:
            _refuse(room, "4.5.1", "you are banned from this room; only somebody else can unban you")
        if sender.membership == Membership.LEAVE:
            _refuse(room, "4.5.1", "you are not in this room")
        return
    if sender.membership != Membership.JOIN:
        _refuse(room, "4.5.2", "you are not a joined member of this room")
    own = level_of(room, sender.ref)
    banned = target.membership == Membership.BAN
    if banned:
        _require(room, "4.5.3", own, _default(room, "ban"), "to unban")
    _require(room, "4.5.5", own, _default(room, "kick"), "to unban" if banned else "to kick")
    _outranks(room, "4.5.5", own, target, "unban" if banned else "kick")


def _ban(room: Projection, sender: Member, target: Member) -> None:
    if sender.membership != Membership.JOIN:
        _refuse(room, "4.6.1", "you are not a joined member of this room")
    own = level_of(room, sender.ref)
    _require(room, "4.6.3", own, _default(room, "ban"), "to ban")
    _outranks(room, "4.6.3", own, target, "ban")


def _knock(room: Projection, sender: Member, target: Member) -> None:
    if room.join_rule not in (JoinRule.KNOCK, JoinRule.KNOCK_RESTRICTED):
        _refuse(room, "4.7.1", f"this room takes no knocks; its join rule is {room.join_rule.text}")
    if sender.ref != target.ref:
        _refuse(room, "4.7.2", "nobody can knock for somebody else")
    if sender.membership == Membership.BAN:
        _refuse(room, "4.7.4", "you are banned from this room")
    if sender.membership == Membership.INVITE:
        _refuse(room, "4.7.4", "you are invited already: join")
    if sender.membership == Membership.JOIN:
        _refuse(room, "4.7.4", "you are in this room already")


def _power_levels(room: Projection, sender: MemberRef, own: int, new: PowerLevels) -> None:
    if room.version >= 12 and any(creator in new.users for creator in room.creators):
        # The one rule that version 12 adds in the middle; its number is given as it is.
        raise Refused("10.4", "users: creators of this room have infinite power; they cannot have an entry")
    old = room.power
    if old is None:
        return
    for field, default in DEFAULTS.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            _require(room, "9.5.1", own, default if before is None else before, f"to change {field}")
            _grant(room, "9.5.2", own, default if after is None else after, field)
    for field in ("events", "notifications"):
        _entries_changed(room, own, field, getattr(old, field), getattr(new, field))
    for field in ("events", "notifications"):
        _entries_granted(room, own, field, getattr(old, field), getattr(new, field))
    altered = _altered(old.users, new.users)
    for ref in altered:
        if ref in old.users and ref != sender and old.users[ref] >= own:
            _refuse(room, "9.8.1", f"users: you can only change the level of those below yours, which is {own}")
    fallback = DEFAULTS["users_default"] if new.users_default is None else new.users_default
    for ref in altered:
        if ref in new.users:
            _grant(room, "9.9.1", own, new.users[ref], "users")
        elif fallback > max(own, old.users[ref]):
            _grant(room, "9.9.1", own, fallback, "users")  # removed, hence lifted: stricter than the text, see above


def _entries_changed(room: Projection, own: int, field: str, was: Mapping[K, int], will: Mapping[K, int]) -> None:
    for key in _altered(was, will):
        if key in was:
            _require(room, "9.6.1", own, was[key], f"to change an entry of {field}")


def _entries_granted(room: Projection, own: int, field: str, was: Mapping[K, int], will: Mapping[K, int]) -> None:
    for key in _altered(was, will):
        if key in will:
            _grant(room, "9.7.1", own, will[key], field)


def _altered(was: Mapping[K, int], will: Mapping[K, int]) -> list[K]:
    """The keys that were added, changed or removed."""
    return [key for key in was.keys() | will.keys() if was.get(key) != will.get(key)]


def _default(room: Projection, field: str) -> int:
    """The power level that `field` says, or its default."""
    level: int | None = getattr(room.power or _NO_POWER_LEVELS, field)
    return DEFAULTS[field] if level is None else level


def _require(room: Projection, rule: str, own: int, needed: int, what: str) -> None:
    if own < needed:
        _refuse(room, rule, f"you need power level {needed} {what}; yours is {own}")


def _grant(room: Projection, rule: str, own: int, level: int, field: str) -> None:
    if own < level:
        _refuse(room, rule, f"{field}: you cannot set power level {level}; yours is {own}")


def _outranks(room: Projection, rule: str, own: int, target: Member, verb: str) -> None:
    if level_of(room, target.ref) >= own:
        _refuse(room, rule, f"you can only {verb} people with a lower power level than yours")


def _refuse(room: Projection, rule: str, why: str) -> NoReturn:
    """Raise with the number that `rule`, of version 11, has in the room's own version."""
    if room.version >= 12:
        first, *rest = (int(part) for part in rule.split("."))
        if first == 9 and rest[0] >= 4:
            rest[0] += 1  # version 12 has one more rule about power levels, its 10.4
        rule = ".".join(map(str, (first + 1, *rest)))  # and one more of its own in second place
    raise Refused(rule, why)
