"""What cells ask one another about aliases and published rooms. Words in them are in memory only."""

from typing import Any, ClassVar

from msgspec import Struct

from hutong.cells.link import Request
from hutong.ids import CellNo, HomeNo, MemberRef, RoomNo


class Claim(Struct, frozen=True, kw_only=True):
    """What an alias stands for. `keeper`: the cell that has the alias in words, sealed for `id` with its creator.

    Without `id` nobody keeps it: its creator was erased.
    """

    room_id: bytes
    version: int
    home: HomeNo
    keeper: CellNo
    id: bytes | None


class Resolve(Request[list[Claim | None]], frozen=True, kw_only=True):
    """What each of these aliases of the asked region stands for."""

    flow: ClassVar[str] = "resolve"
    reply: ClassVar[Any] = list[Claim | None]
    aliases: list[str]


class ClaimAlias(Request[bool], frozen=True, kw_only=True):
    """Let the alias with this key stand for what `claim` says. False: it stands for something already.

    Within a region; the asked cell is where the key belongs. Idempotent by the claim's id.
    """

    flow: ClassVar[str] = "claim_alias"
    reply: ClassVar[Any] = bool
    key: bytes
    claim: Claim


class ReleaseAlias(Request[None], frozen=True, kw_only=True):
    """The alias with this key stands for nothing any more, if `id` still says for what. Within a region."""

    flow: ClassVar[str] = "release_alias"
    reply: ClassVar[Any] = None
    key: bytes
    id: bytes | None


class DropAlias(Request[None], frozen=True, kw_only=True):
    """Take an alias away, words and all: to its keeper, from a cell of the region that saw that it may be."""

    flow: ClassVar[str] = "drop_alias"
    reply: ClassVar[Any] = None
    key: bytes
    id: bytes


class OrphanAliases(Request[None], frozen=True, kw_only=True):
    """The words of these aliases, by key and id, are gone with their creator; the aliases go on. Within a region."""

    flow: ClassVar[str] = "orphan_aliases"
    reply: ClassVar[Any] = None
    aliases: list[tuple[bytes, bytes]]


class AliasesOf(Request[list[str]], frozen=True, kw_only=True):
    """The aliases of a room that the asked cell keeps in words. Within a region."""

    flow: ClassVar[str] = "aliases_of"
    reply: ClassVar[Any] = list[str]
    room_id: bytes


class Publish(Request[None], frozen=True, kw_only=True):
    """Show `room`, whose home the asked cell is, in the list of published rooms, or no longer, on behalf of `ref`.

    Raises: Forbidden.
    """

    flow: ClassVar[str] = "publish"
    reply: ClassVar[Any] = None
    room: RoomNo
    ref: MemberRef
    public: bool


class IsPublished(Request[bool], frozen=True, kw_only=True):
    """Whether `room`, whose home the asked cell is, is in the list of published rooms."""

    flow: ClassVar[str] = "is_published"
    reply: ClassVar[Any] = bool
    room: RoomNo


class PublishedRoom(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A room as the list shows it: a PublishedRoomsChunk of the Client-Server API."""

    room_id: str
    num_joined_members: int
    world_readable: bool
    guest_can_join: bool
    join_rule: str
    name: str | None = None
    topic: str | None = None
    canonical_alias: str | None = None
    avatar_url: str | None = None
    room_type: str | None = None

    @property
    def rank(self) -> tuple[int, str]:
        """Where it stands in the list: the largest first, then by room id."""
        return -self.num_joined_members, self.room_id


class Wanted(Struct, frozen=True, kw_only=True):
    """Which of the published rooms are asked for. `room_types`: None stands for an ordinary room."""

    term: str | None = None
    room_types: list[str | None] | None = None


class Place(Struct, frozen=True, array_like=True):
    """A place between two rooms of the list: just before the room with this rank, or just `after` it."""

    rank: tuple[int, str]
    after: bool


class PublicRoomsReply(Struct, frozen=True, kw_only=True):
    """`rooms`: in the order of the list. `total`: of all rooms that are asked for. `behind`: there are some on the
    other side of the place."""

    rooms: list[PublishedRoom]
    total: int
    behind: bool


class PublicRooms(Request[PublicRoomsReply], frozen=True, kw_only=True):
    """Up to `limit` of the published rooms at home in the asked cell, from `place` on, or `backwards` up to it."""

    flow: ClassVar[str] = "public_rooms"
    reply: ClassVar[Any] = PublicRoomsReply
    wanted: Wanted
    place: Place | None
    backwards: bool
    limit: int
