"""Small numbers for the words that the specification itself uses: event types, relation types, memberships, rules.

An envelope carries these numbers, never text (a text that the specification does not name becomes a keyed hash, which
is negative). They are written out and never change their meaning: they lie in databases and travel between regions.

Source: Client-Server API v1.19, all event types of the prose and of `data/event-schemas`.
"""

from enum import IntEnum
from typing import Final, Self

from hutong.ids import TypeCode

CREATE: Final = TypeCode(1)
MEMBER: Final = TypeCode(2)
POWER_LEVELS: Final = TypeCode(3)
JOIN_RULES: Final = TypeCode(4)
HISTORY_VISIBILITY: Final = TypeCode(5)
GUEST_ACCESS: Final = TypeCode(6)
ENCRYPTION: Final = TypeCode(7)
TOMBSTONE: Final = TypeCode(8)
THIRD_PARTY_INVITE: Final = TypeCode(9)
NAME: Final = TypeCode(10)
TOPIC: Final = TypeCode(11)
AVATAR: Final = TypeCode(12)
CANONICAL_ALIAS: Final = TypeCode(13)
PINNED_EVENTS: Final = TypeCode(14)
SERVER_ACL: Final = TypeCode(15)
SPACE_CHILD: Final = TypeCode(16)
SPACE_PARENT: Final = TypeCode(17)

MESSAGE: Final = TypeCode(64)
ENCRYPTED: Final = TypeCode(65)
REDACTION: Final = TypeCode(66)
REACTION: Final = TypeCode(67)
STICKER: Final = TypeCode(68)
CALL_INVITE: Final = TypeCode(69)
POLL_START: Final = TypeCode(77)

TYPING: Final = TypeCode(128)
RECEIPT: Final = TypeCode(129)
PRESENCE: Final = TypeCode(130)
FULLY_READ: Final = TypeCode(131)
TAG: Final = TypeCode(132)
DIRECT: Final = TypeCode(133)
IGNORED_USER_LIST: Final = TypeCode(134)
PUSH_RULES: Final = TypeCode(135)
MARKED_UNREAD: Final = TypeCode(136)

_TEXTS: Final[dict[TypeCode, str]] = {
    # State of a room: 1 to 63.
    CREATE: "m.room.create",
    MEMBER: "m.room.member",
    POWER_LEVELS: "m.room.power_levels",
    JOIN_RULES: "m.room.join_rules",
    HISTORY_VISIBILITY: "m.room.history_visibility",
    GUEST_ACCESS: "m.room.guest_access",
    ENCRYPTION: "m.room.encryption",
    TOMBSTONE: "m.room.tombstone",
    THIRD_PARTY_INVITE: "m.room.third_party_invite",
    NAME: "m.room.name",
    TOPIC: "m.room.topic",
    AVATAR: "m.room.avatar",
    CANONICAL_ALIAS: "m.room.canonical_alias",
    PINNED_EVENTS: "m.room.pinned_events",
    SERVER_ACL: "m.room.server_acl",
    SPACE_CHILD: "m.space.child",
    SPACE_PARENT: "m.space.parent",
    TypeCode(18): "m.policy.rule.user",
    TypeCode(19): "m.policy.rule.room",
    TypeCode(20): "m.policy.rule.server",
    TypeCode(21): "m.room.policy",
    TypeCode(22): "m.room.image_pack",
    TypeCode(23): "m.room.aliases",  # historical
    # Messages in a room: 64 to 127.
    MESSAGE: "m.room.message",
    ENCRYPTED: "m.room.encrypted",
    REDACTION: "m.room.redaction",
    REACTION: "m.reaction",
    STICKER: "m.sticker",
    CALL_INVITE: "m.call.invite",
    TypeCode(70): "m.call.candidates",
    TypeCode(71): "m.call.answer",
    TypeCode(72): "m.call.hangup",
    TypeCode(73): "m.call.select_answer",
    TypeCode(74): "m.call.reject",
    TypeCode(75): "m.call.negotiate",
    TypeCode(76): "m.call.sdp_stream_metadata_changed",
    POLL_START: "m.poll.start",
    TypeCode(78): "m.poll.response",
    TypeCode(79): "m.poll.end",
    TypeCode(80): "m.key.verification.request",
    TypeCode(81): "m.key.verification.ready",
    TypeCode(82): "m.key.verification.start",
    TypeCode(83): "m.key.verification.accept",
    TypeCode(84): "m.key.verification.key",
    TypeCode(85): "m.key.verification.mac",
    TypeCode(86): "m.key.verification.done",
    TypeCode(87): "m.key.verification.cancel",
    TypeCode(88): "m.room.message.feedback",  # historical
    # Ephemeral events and account data: 128 to 159.
    TYPING: "m.typing",
    RECEIPT: "m.receipt",
    PRESENCE: "m.presence",
    FULLY_READ: "m.fully_read",
    TAG: "m.tag",
    DIRECT: "m.direct",
    IGNORED_USER_LIST: "m.ignored_user_list",
    PUSH_RULES: "m.push_rules",
    MARKED_UNREAD: "m.marked_unread",
    TypeCode(137): "m.identity_server",
    TypeCode(138): "m.accepted_terms",
    TypeCode(139): "m.image_pack.rooms",
    TypeCode(140): "m.recent_emoji",
    TypeCode(141): "m.invite_permission_config",
    TypeCode(142): "m.key_backup",
    TypeCode(143): "m.secret_storage.default_key",
    TypeCode(144): "m.cross_signing.master",
    TypeCode(145): "m.cross_signing.self_signing",
    TypeCode(146): "m.cross_signing.user_signing",
    TypeCode(147): "m.megolm_backup.v1",
    # To devices: 160 to 191.
    TypeCode(160): "m.dummy",
    TypeCode(161): "m.room_key",
    TypeCode(162): "m.room_key_request",
    TypeCode(163): "m.forwarded_room_key",
    TypeCode(164): "m.room_key.withheld",
    TypeCode(165): "m.room_key_bundle",
    TypeCode(166): "m.secret.request",
    TypeCode(167): "m.secret.send",
}
_CODES: Final = {text: code for code, text in _TEXTS.items()}

STRUCTURAL: Final = frozenset(
    {CREATE, MEMBER, POWER_LEVELS, JOIN_RULES, HISTORY_VISIBILITY, GUEST_ACCESS, ENCRYPTION, TOMBSTONE}
)
"""The types whose content governs a room: it is read into the projection and does not depend on its author's words."""


def code_of(type: str) -> TypeCode | None:
    """The code of an event type that the specification names; None for any other text."""
    return _CODES.get(type)


def text_of(code: TypeCode) -> str | None:
    """The event type that `code` stands for; None for a keyed hash."""
    return _TEXTS.get(code)


class _Word(IntEnum):
    """A word of the specification; the name in lower case is the text."""

    @property
    def text(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, text: object) -> Self | None:
        """The member whose text is `text`; None for anything else."""
        return next((member for member in cls if member.text == text), None)

    @classmethod
    def texts(cls) -> str:
        """All texts, for a message that says what would be valid."""
        return ", ".join(member.text for member in cls)


class Membership(_Word):
    """Someone of whom the room holds no `m.room.member` event counts as `LEAVE`."""

    INVITE = 1
    JOIN = 2
    KNOCK = 3
    LEAVE = 4
    BAN = 5


class JoinRule(_Word):
    PUBLIC = 1
    INVITE = 2
    KNOCK = 3
    RESTRICTED = 4
    KNOCK_RESTRICTED = 5
    PRIVATE = 6


class HistoryVisibility(_Word):
    WORLD_READABLE = 1
    SHARED = 2
    INVITED = 3
    JOINED = 4


class GuestAccess(_Word):
    CAN_JOIN = 1
    FORBIDDEN = 2


class Algorithm(IntEnum):
    """How a room encrypts. Only whether it does, and as the specification says, matters here."""

    MEGOLM_V1_AES_SHA2 = 1
    OTHER = 2


class Relation(IntEnum):
    """What `rel_type` in an envelope says. A relation that has no name in the specification is a keyed hash."""

    ANNOTATION = 1
    REPLACE = 2
    """A valid edit of the event that it points at, see `rooms.relating`."""
    REFERENCE = 3
    THREAD = 4
    REDACTION = 5
    """Not a `rel_type` of a client: the event that `redacts` another points at it this way."""
    NO_EDIT = 6
    """`m.replace`, but none that is valid."""

    @classmethod
    def of(cls, rel_type: str) -> "Relation | None":
        """The relation that a client calls `rel_type`; None for any other text."""
        return _RELATIONS.get(rel_type)


_RELATIONS: Final = {
    "m.annotation": Relation.ANNOTATION,
    "m.replace": Relation.REPLACE,
    "m.reference": Relation.REFERENCE,
    "m.thread": Relation.THREAD,
}

SPACE_ROOM: Final = 1
"""The code of the room type `m.space`; 0 is an ordinary room, a negative number the keyed hash of another text."""
NOTIFY_ROOM: Final = 1
"""The code of `notifications.room`; other keys of `notifications` are keyed hashes."""
MEGOLM: Final = "m.megolm.v1.aes-sha2"
SPACE: Final = "m.space"
