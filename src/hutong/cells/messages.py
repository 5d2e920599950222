"""Every request that a cell may send another, with its reply. Words and user ids in them are in memory only."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar, Final

from msgspec import Struct

from hutong.cells.link import Request
from hutong.cells.records import Envelope, Words
from hutong.cells.relations import Bundle, Eyes, Kinship, ThreadsFound
from hutong.ids import HomeNo, MemberRef, Minute, RoomNo, Seq

ROOMS_PER_CALL_MAX: Final = 1_000


def rooms_by_call(rooms: Iterable[RoomNo]) -> Iterator[list[RoomNo]]:
    """`rooms` in parts, each as many as one request may name."""
    rest = iter(rooms)
    while part := list(islice(rest, ROOMS_PER_CALL_MAX)):
        yield part


class Draft(Struct, frozen=True, array_like=True, kw_only=True):
    """An event before the room's home has numbered it. Its sender's home made the id and keeps the content."""

    event_id: bytes
    home: HomeNo
    sender: MemberRef
    minute: Minute
    words: Words
    target: MemberRef | None = None
    """Of m.room.member: whom it is about, and where that person's home is."""
    target_home: HomeNo | None = None
    own_state_key: bool = False
    """The state key is the sender's own user id."""
    loud: int = 0
    """See `Loud`, but for a mention of the whole room."""
    mentions_room: bool = False
    """It shouts, if its sender may notify the whole room."""
    relates_to: bytes | None = None
    """The id of the event that it relates to."""
    relation: str | None = None
    """What it calls the relation."""
    edits: bool = False
    """It has what an edit has to have: new content, or none that could be looked into."""
    redacts: bytes | None = None
    mentions: tuple[str, ...] = ()
    """The user ids that `m.mentions` names."""
    authoriser: MemberRef | None = None
    """Of a join into a restricted room: the member on whose authority it rests."""
    moves_from: tuple[int, ...] = ()
    """Of m.room.member about somebody else: the memberships from which it may move them; empty: from any that the
    rules allow. Who is kicked while they are being banned stays banned.
    """
    leaves: Seq | None = None
    """Of a leaving that could not be told at once: the sender's m.room.member that it ends. If another has come
    meanwhile, there is nothing to leave any more."""


class Ping(Request[None], frozen=True):
    """A sign of life, please."""

    flow: ClassVar[str] = "ping"
    reply: ClassVar[Any] = None


class Append(Request[Seq], frozen=True, kw_only=True):
    """Put `draft` at the end of `room`, whose home the asked cell is. Idempotent by the event's id.

    Raises what the room's rules say, and `M_NOT_FOUND` when the event was voided meanwhile.
    """

    flow: ClassVar[str] = "append"
    reply: ClassVar[Any] = int
    room: RoomNo
    draft: Draft


class Settle(Request[Seq | None], frozen=True, kw_only=True):
    """What became of an event that was sent to `room`: its seq, or None, and then it never comes to be."""

    flow: ClassVar[str] = "settle"
    reply: ClassVar[Any] = int | None
    room: RoomNo
    event_id: bytes


class Gone(Struct, frozen=True, tag="gone"):
    """Erased or redacted. Authoritative: "unreachable" never becomes this."""


class Found(Struct, frozen=True, tag="found"):
    words: Words


class Contents(Request[list[Found | Gone]], frozen=True, kw_only=True):
    """The contents of events whose authors are at home in the asked cell, in the order of `ids`.

    An answer that would get too long ends early: it is about the first of `ids`, one at least.
    """

    flow: ClassVar[str] = "contents"
    reply: ClassVar[Any] = list[Found | Gone]
    ids: list[bytes]


class NamesOf(Request[list[str | None]], frozen=True, kw_only=True):
    """The user ids of members who are at home in the asked cell; None: erased."""

    flow: ClassVar[str] = "names"
    reply: ClassVar[Any] = list[str | None]
    members: list[tuple[RoomNo, MemberRef]]


class RefReply(Struct, frozen=True):
    ref: MemberRef
    home: HomeNo


class RefsOf(Request[list[RefReply | None]], frozen=True, kw_only=True):
    """The refs of people of the asked region in `room`, in the order of `user_ids`; None: no such account.

    `make`: give one out to whoever has none yet. Who only reads does not, and is told None then.
    """

    flow: ClassVar[str] = "refs"
    reply: ClassVar[Any] = list[RefReply | None]
    user_ids: list[str]
    room: RoomNo
    make: bool = True


class RefsIn(Request[dict[str, list[tuple[RoomNo, MemberRef]]]], frozen=True, kw_only=True):
    """The refs that people of the asked region have in any of `rooms`; whoever has none there is absent."""

    flow: ClassVar[str] = "refs"
    reply: ClassVar[Any] = dict[str, list[tuple[RoomNo, MemberRef]]]
    user_ids: list[str]
    rooms: list[RoomNo]


class OutRow(Struct, frozen=True, array_like=True, kw_only=True):
    """One row of `out` on its way, with what it brings."""

    n: int
    room: RoomNo
    seq: Seq
    kind: int
    a: int = 0
    b: int = 0
    thread: int = 0
    envelope: Envelope | None = None
    redacts: Envelope | None = None
    """Of a redaction: the event that it redacts."""


class Pull(Request[list[OutRow]], frozen=True, kw_only=True):
    """The rows for the asking cell after number `after`, in order; rows up to it may be forgotten."""

    flow: ClassVar[str] = "pull"
    reply: ClassVar[Any] = list[OutRow]
    after: int
    limit: int


class Push(Request[None], frozen=True, kw_only=True):
    """The bell: there are rows for the asked cell after number `after`, up to `last`.

    Carries contents and names, in memory only.
    """

    flow: ClassVar[str] = "push"
    reply: ClassVar[Any] = None
    after: int
    last: int
    rows: tuple[OutRow, ...] = ()
    words: tuple[tuple[bytes, Words], ...] = ()
    names: tuple[tuple[RoomNo, MemberRef, str], ...] = ()


class MissedRooms(Request[list[tuple[RoomNo, Seq]]], frozen=True, kw_only=True):
    """The rooms of the asked cell of which the asking one hears, each with the seq up to which rows about it are no
    longer kept. `mark`: the number of the row that said so.
    """

    flow: ClassVar[str] = "missed rooms"
    reply: ClassVar[Any] = list[tuple[int, int]]
    mark: int


class MissedReply(Struct, frozen=True, kw_only=True):
    """`upto`: everything up to this seq is told; what is not among `rows` was not for the asking cell."""

    rows: list[OutRow]
    upto: Seq


class Missed(Request[MissedReply], frozen=True, kw_only=True):
    """What the asking cell would have been told of the events after seq `after`, up to `upto`: rows without number."""

    flow: ClassVar[str] = "missed"
    reply: ClassVar[Any] = MissedReply
    room: RoomNo
    after: Seq
    upto: Seq


class RoomFacts(Struct, frozen=True, kw_only=True):
    """What a cell must know of a room before it can keep a copy of its timeline."""

    room: RoomNo
    room_id: bytes
    home: HomeNo
    version: int
    proj: bytes


Marker = tuple[MemberRef, int, int, Seq, Minute]
"""A public receipt: whose, its type, its thread, where it stands, since when."""


class SnapshotReply(Struct, frozen=True, kw_only=True):
    facts: RoomFacts
    state: list[Envelope]
    receipts: list[Marker]
    more: bool = False
    """There is more of what was asked for."""


class Snapshot(Request[SnapshotReply], frozen=True, kw_only=True):
    """`room`, whose home the asked cell is, for a cell that begins to keep a copy of it after seq `at`.

    `state` is that after `at`, and empty with `facts_only`: for a cell that only has somebody who is invited. It comes
    in pages, each `after` the type and state key that came last; then the receipts, each page `read_after` the member,
    type and thread that came last.
    """

    flow: ClassVar[str] = "snapshot"
    reply: ClassVar[Any] = SnapshotReply
    room: RoomNo
    at: Seq
    facts_only: bool = False
    after: tuple[int, int] | None = None
    read_after: tuple[int, int, int] | None = None


class PageReply(Struct, frozen=True, kw_only=True):
    envelopes: list[Envelope]
    head: Seq


class Page(Request[PageReply], frozen=True, kw_only=True):
    """Up to `limit` events of `room` after (or, `backwards`, before) seq `start`."""

    flow: ClassVar[str] = "page"
    reply: ClassVar[Any] = PageReply
    room: RoomNo
    start: Seq
    backwards: bool
    limit: int


class StateAt(Request[PageReply], frozen=True, kw_only=True):
    """The state events of `room` as they were after seq `at`; with `members` no m.room.member but theirs."""

    flow: ClassVar[str] = "state"
    reply: ClassVar[Any] = PageReply
    room: RoomNo
    at: Seq
    members: list[MemberRef] | None = None


class SightReply(Struct, frozen=True, kw_only=True):
    visibility: list[tuple[Seq, int]]
    """(seq, HistoryVisibility), ascending."""
    membership: list[tuple[Seq, int]]
    """(seq, Membership) of the one member, ascending."""


class SightOf(Request[SightReply], frozen=True, kw_only=True):
    """What decides what a member may see of a room's past."""

    flow: ClassVar[str] = "sight"
    reply: ClassVar[Any] = SightReply
    room: RoomNo
    ref: MemberRef


class EventById(Request[Envelope | None], frozen=True, kw_only=True):
    flow: ClassVar[str] = "event"
    reply: ClassVar[Any] = Envelope | None
    room: RoomNo
    event_id: bytes


class BundlesOf(Request[list[tuple[Seq, Bundle]]], frozen=True, kw_only=True):
    """What relates to each of `parents`, and to the last event of the threads that begin at them."""

    flow: ClassVar[str] = "bundles"
    reply: ClassVar[Any] = list[tuple[int, Bundle]]
    eyes: Eyes
    parents: list[Seq]


class ChildrenOf(Request[list[Envelope]], frozen=True, kw_only=True):
    """Up to `limit` events that relate to another, between two seqs, in order."""

    flow: ClassVar[str] = "children"
    reply: ClassVar[Any] = list[Envelope]
    eyes: Eyes
    asked: Kinship
    after: Seq
    upto: Seq
    limit: int
    backwards: bool


class ThreadsOf(Request[ThreadsFound], frozen=True, kw_only=True):
    """Up to `limit` threads whose last event is at or before `start`; with `participant`, those of this member."""

    flow: ClassVar[str] = "threads"
    reply: ClassVar[Any] = ThreadsFound
    eyes: Eyes
    start: Seq
    limit: int
    participant: MemberRef | None


class CodesReply(Struct, frozen=True):
    type: int
    skey: int | None


class Codes(Request[CodesReply], frozen=True, kw_only=True):
    """How `room` writes a type and a state key that are no codes of the specification; its home holds the key."""

    flow: ClassVar[str] = "codes"
    reply: ClassVar[Any] = CodesReply
    room: RoomNo
    type: str
    state_key: str | None


class Locate(Request[RoomFacts | None], frozen=True, kw_only=True):
    """The facts about the room with this id when the asked cell is its home."""

    flow: ClassVar[str] = "locate"
    reply: ClassVar[Any] = RoomFacts | None
    room_id: bytes


class Stripped(Request[list[bytes]], frozen=True, kw_only=True):
    """The stripped state events of `room` as JSON, for `ref`, who is invited and cannot look inside yet."""

    flow: ClassVar[str] = "stripped"
    reply: ClassVar[Any] = list[bytes]
    room: RoomNo
    ref: MemberRef


class Authority(Struct, frozen=True):
    """A member who may invite, and in whose name somebody joins a restricted room."""

    ref: MemberRef
    user_id: str


class AuthorityFor(Request[Authority | None], frozen=True, kw_only=True):
    """On whose authority somebody who is in the room `via` joins `room`, whose home the asked cell is.

    None: nobody there may invite. Raises `M_FORBIDDEN` when the room's join rule does not name `via`.
    """

    flow: ClassVar[str] = "authority"
    reply: ClassVar[Any] = Authority | None
    room: RoomNo
    via: bytes


class ProfileOf(Request[bytes | None], frozen=True, kw_only=True):
    """The public profile of a person of the asked region, as JSON; None: no such account."""

    flow: ClassVar[str] = "profile"
    reply: ClassVar[Any] = bytes | None
    user_id: str


class PresenceReply(Struct, frozen=True, kw_only=True):
    state: str
    status: str | None
    active_ago_ms: int | None


class PresenceOf(Request[PresenceReply | None], frozen=True, kw_only=True):
    """How a person of the asked region appears; None: no such person has joined one of `rooms`."""

    flow: ClassVar[str] = "presence"
    reply: ClassVar[Any] = PresenceReply | None
    user_id: str
    rooms: list[RoomNo]


class Typing(Request[None], frozen=True, kw_only=True):
    """A member types, or stopped (`ms` 0). To the room's home; from there to every cell of the room."""

    flow: ClassVar[str] = "typing"
    reply: ClassVar[Any] = None
    room: RoomNo
    ref: MemberRef
    ms: int


class EraseRef(Request[None], frozen=True, kw_only=True):
    """The person behind `ref` is erased: drop what is cached or derived of them in `room`."""

    flow: ClassVar[str] = "erase"
    reply: ClassVar[Any] = None
    room: RoomNo
    ref: MemberRef
