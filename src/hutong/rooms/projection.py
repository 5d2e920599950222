"""What governs a room, as numbers, refs and ids only: the typed projection that every replica of the room holds.

Authorisation reads this and never an event's content, so a room still governs itself when the author of its power
levels is erased or cut off. Each record of a change is what a region sends to the room's home beside the sealed words;
`Projection.apply` is the only way from one projection to the next. No I/O, no clock.
"""

from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, Struct, structs

from hutong.ids import ID_BYTES, MemberRef, RegionNo, TypeCode
from hutong.rooms.event_types import (
    GUEST_ACCESS,
    POWER_LEVELS,
    SPACE_ROOM,
    TOMBSTONE,
    Algorithm,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
    Membership,
)

LEVEL_MAX = 2**53 - 1
Level = Annotated[int, Meta(ge=-LEVEL_MAX, le=LEVEL_MAX)]
"""A power level: any integer of canonical JSON."""
RoomIdBytes = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Version = Literal[10, 11, 12]
VERSIONS: tuple[Version, ...] = (10, 11, 12)


class _Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """An array on the wire. A field is only ever added at the end, with a default."""


class Create(_Record, frozen=True, tag=1):
    """`m.room.create`. `additional` is empty before version 12. `room_type`: 0, SPACE_ROOM or a keyed hash."""

    version: Version
    federate: bool = True
    room_type: int = 0
    predecessor: RoomIdBytes | None = None
    additional: tuple[MemberRef, ...] = ()


class MemberChange(_Record, frozen=True, tag=2):
    """`m.room.member`. `third_party`: the content has a `third_party_invite`."""

    membership: Membership
    third_party: bool = False


class PowerLevels(_Record, frozen=True, tag=3):
    """`m.room.power_levels`; None is a property that the content does not have. `notifications` is keyed by NOTIFY_ROOM
    or a keyed hash. The parser puts keys in ascending order: the order of the content is its author's."""

    users: dict[MemberRef, Level] = {}
    events: dict[TypeCode, Level] = {}
    notifications: dict[int, Level] = {}
    users_default: Level | None = None
    events_default: Level | None = None
    state_default: Level | None = None
    ban: Level | None = None
    kick: Level | None = None
    redact: Level | None = None
    invite: Level | None = None


class JoinRules(_Record, frozen=True, tag=4):
    """`m.room.join_rules`. `allowed`: the rooms whose members a restricted rule lets in."""

    rule: JoinRule
    allowed: tuple[RoomIdBytes, ...] = ()


class HistoryRule(_Record, frozen=True, tag=5):
    """`m.room.history_visibility`."""

    visibility: HistoryVisibility


class GuestRule(_Record, frozen=True, tag=6):
    """`m.room.guest_access`."""

    access: GuestAccess


class Encryption(_Record, frozen=True, tag=7):
    """`m.room.encryption`."""

    algorithm: Algorithm


class Tombstone(_Record, frozen=True, tag=8):
    """`m.room.tombstone`. `replacement` is None when the room that it names is none of ours."""

    replacement: RoomIdBytes | None = None


Change = Create | MemberChange | PowerLevels | JoinRules | HistoryRule | GuestRule | Encryption | Tombstone


class Projection(_Record, frozen=True):
    """All that governs a room, as of its last structural event. None: the room has no such event.

    `creators[0]` sent `m.room.create`, from region `origin`. Who is a member is in the table of members.
    """

    version: Version
    origin: RegionNo
    creators: Annotated[tuple[MemberRef, ...], Meta(min_length=1)]
    federate: bool
    room_type: int
    predecessor: RoomIdBytes | None
    power: PowerLevels | None
    join_rules: JoinRules | None
    visibility: HistoryVisibility | None
    guest_access: GuestAccess | None
    algorithm: Algorithm | None
    tombstone: Tombstone | None

    @classmethod
    def created(cls, create: Create, creator: MemberRef, origin: RegionNo) -> Self:
        """The projection after `create`, the room's first event, by `creator` from region `origin`."""
        others = sorted(set(create.additional) - {creator}) if create.version >= 12 else ()
        return cls(
            version=create.version,
            origin=origin,
            creators=(creator, *others),
            federate=create.federate,
            room_type=create.room_type,
            predecessor=create.predecessor,
            power=None,
            join_rules=None,
            visibility=None,
            guest_access=None,
            algorithm=None,
            tombstone=None,
        )

    def apply(self, change: Change) -> "Projection":
        """The projection after `change`, which has been authorised. A change of membership leaves it as it is."""
        match change:
            case MemberChange():
                return self
            case PowerLevels():
                return structs.replace(self, power=change)
            case JoinRules():
                return structs.replace(self, join_rules=change)
            case HistoryRule():
                return structs.replace(self, visibility=change.visibility)
            case GuestRule():
                return structs.replace(self, guest_access=change.access)
            case Encryption():
                return structs.replace(self, algorithm=change.algorithm)
            case Tombstone():
                return structs.replace(self, tombstone=change)
            case Create():
                raise AssertionError("a room is created once; authorisation refuses a second m.room.create")

    def redacted(self, type: TypeCode) -> "Projection":
        """The projection once the state event of `type` that it was read from has been redacted.

        What the room version's redaction keeps stays. Encryption stays too, although its content does not: a room that
        encrypts never stops.
        """
        if type == POWER_LEVELS and self.power is not None:
            invite = self.power.invite if self.version >= 11 else None
            return structs.replace(self, power=structs.replace(self.power, invite=invite, notifications={}))
        if type == GUEST_ACCESS:
            return structs.replace(self, guest_access=None)
        if type == TOMBSTONE and self.tombstone is not None:
            return structs.replace(self, tombstone=None)
        return self

    @property
    def join_rule(self) -> JoinRule:
        return JoinRule.INVITE if self.join_rules is None else self.join_rules.rule

    @property
    def history(self) -> HistoryVisibility:
        return self.visibility or HistoryVisibility.SHARED

    @property
    def guests(self) -> GuestAccess:
        return self.guest_access or GuestAccess.FORBIDDEN

    @property
    def encrypted(self) -> bool:
        return self.algorithm is not None

    @property
    def is_space(self) -> bool:
        return self.room_type == SPACE_ROOM

    def outranks_all(self, ref: MemberRef) -> bool:
        """Whether `ref` is a creator whose power level is infinite: in version 12, every creator."""
        return self.version >= 12 and ref in self.creators


_ENCODER = msgspec.msgpack.Encoder()
_PROJECTION = msgspec.msgpack.Decoder(Projection)
_CHANGE: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)


def encode(record: Projection | Change) -> bytes:
    """MessagePack. Decoding and encoding again gives the same bytes, so replicas of a room hold equal bytes."""
    return _ENCODER.encode(record)


def decode(raw: bytes) -> Projection:
    """Raises: msgspec.ValidationError for anything but an encoded projection."""
    return _PROJECTION.decode(raw)


def decode_change(raw: bytes) -> Change:
    """Raises: msgspec.ValidationError for anything but an encoded change."""
    return _CHANGE.decode(raw)
