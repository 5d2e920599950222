"""What relates to an event, as one reader sees it. Envelopes only; no I/O."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from hutong.cells.records import Envelope
from hutong.ids import MemberRef, Pos, RoomNo, Seq, TypeCode
from hutong.rooms.event_types import Relation

EDITS_MAX: Final = 4
"""The newest edits of an event that are looked at: which one counts, their times decide."""
REFERENCES_MAX: Final = 1_000
"""The newest references to an event that are listed."""
END_OF_ROOM: Final = Seq(2**62)
EVERYTHING: Final = ((Seq(0), END_OF_ROOM),)
END_OF_LOG: Final = Pos(2**62)


class Eyes(Struct, frozen=True, kw_only=True):
    """What of a room one reader sees: `seen` are the seqs, from and to, `upto` the log position."""

    room: RoomNo
    ref: MemberRef
    seen: tuple[tuple[Seq, Seq], ...] = EVERYTHING
    upto: Pos = END_OF_LOG
    ignored: tuple[MemberRef, ...] = ()
    """Whose events are not for this reader."""


class Thread(Struct, frozen=True):
    """What there is of a thread for one reader. `mine`: an event of theirs is in it, its root apart."""

    last: Envelope
    count: int
    mine: bool


class Bundle(Struct, frozen=True, kw_only=True):
    """What relates to one event. `edits` and `references` are the newest first."""

    edits: tuple[Envelope, ...] = ()
    references: tuple[bytes, ...] = ()
    thread: Thread | None = None

    @property
    def shown(self) -> tuple[Envelope, ...]:
        """The events that are shown within it."""
        return self.edits if self.thread is None else (*self.edits, self.thread.last)


Place = tuple[RoomNo, Seq]


def bundled(children: Iterable[Envelope], eyes: Eyes) -> dict[Place, Bundle]:
    """The bundle of every event that one of `children`, in the order of their room, relates to. No I/O."""
    kinds: dict[tuple[Seq, int], list[Envelope]] = {}
    for env in children:
        counts = env.redacted_by is None and env.sender not in eyes.ignored
        if counts and env.rel_seq is not None and env.rel_type is not None:
            kinds.setdefault((env.rel_seq, env.rel_type), []).append(env)
    bundles = {}
    for parent in dict.fromkeys(seq for seq, _ in kinds):
        replies = kinds.get((parent, Relation.THREAD), ())
        thread = Thread(replies[-1], len(replies), any(env.sender == eyes.ref for env in replies)) if replies else None
        edits = kinds.get((parent, Relation.REPLACE), [])[: -EDITS_MAX - 1 : -1]
        references = kinds.get((parent, Relation.REFERENCE), [])[: -REFERENCES_MAX - 1 : -1]
        bundles[eyes.room, parent] = Bundle(
            edits=tuple(edits), references=tuple(env.event_id for env in references), thread=thread
        )
    return bundles


class Kinship(Struct, frozen=True, kw_only=True):
    """Which children of an event are asked for: `relations` None for all kinds, `type` None for all types."""

    parent: Seq
    relations: tuple[int, ...] | None = None
    type: TypeCode | None = None
    recurse: bool = False


class ThreadRoot(Struct, frozen=True):
    """The root of a thread, and the seq of the last event in it."""

    root: Envelope
    last: Seq


class ThreadsFound(Struct, frozen=True):
    """`next`: where the next page begins, None at the end."""

    roots: list[ThreadRoot]
    next: Seq | None
